import os
import sqlite3
import subprocess


def test_the_backend_answers():
    if os.environ["PYTEST_BACKEND"] == "sqlite":
        sqlite3.connect(os.environ["SQLITE_DATABASE"]).execute("select 1")
        return
    server = {key: os.environ["PG_" + key] for key in ["ADDRESS", "PORT", "USERNAME", "DATABASE"]}
    url = "postgresql://{USERNAME}@{ADDRESS}:{PORT}/{DATABASE}".format(**server)
    subprocess.run(["psql", url, "-qc", "select 1"], check=True)
