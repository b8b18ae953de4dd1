#!/bin/bash
set -e
python3 -m py_compile src/cbc_sdk/*.py
