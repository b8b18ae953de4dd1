import sys
import tarfile

assert sys.argv[1:] == ["sdist"], sys.argv
with tarfile.open("dist/meltano-0.1.0.tar.gz", "w:gz") as package:
    package.add("src")
