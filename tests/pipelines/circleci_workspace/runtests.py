import sys

import wagtail.models

assert "--parallel=2" in sys.argv
