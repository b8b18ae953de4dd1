import os
import sqlite3
import subprocess
import sys

assert sys.argv[1:] == ["test"], sys.argv
table = "create table pings(name text)"
if os.environ["DB"] == "postgres":
    where = ["-h", os.environ["DB_HOST"], "-p", os.environ["DB_PORT"], "-U", os.environ["DB_USER"]]
    subprocess.run(["psql", *where, "-d", "hc", "-qc", table], check=True)
else:
    sqlite3.connect("hc.sqlite").execute(table)
