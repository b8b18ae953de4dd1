import http.server
import os
import pathlib
import sys

command = sys.argv[1]
if command == "createsuperuser":
    pathlib.Path("admin.html").write_text(os.environ["DJANGO_SUPERUSER_USERNAME"])
elif command == "runserver":
    address, port = sys.argv[-1].split(":")
    http.server.test(http.server.SimpleHTTPRequestHandler, port=int(port), bind="127.0.0.1")
elif command == "collectstatic":
    assert pathlib.Path("wagtail/static/main.js").exists()
