#!/usr/bin/env bash
set -e
. ./stdlib.sh
./direnv version
