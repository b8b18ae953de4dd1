import shutil
import sys

_, command, name = sys.argv
assert command == "start"
shutil.copytree("wagtail/test", name)
