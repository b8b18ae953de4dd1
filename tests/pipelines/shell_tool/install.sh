#!/usr/bin/env bash
set -e
mkdir -p "$1/bin" "$1/$2"
cp bin/bats "$1/bin"
cp -R lib/. "$1/$2"
