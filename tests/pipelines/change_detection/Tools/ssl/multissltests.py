import argparse
import pathlib

parser = argparse.ArgumentParser()
for option in ["--steps", "--base-directory", "--openssl", "--system"]:
    parser.add_argument(option, required=True)
options = parser.parse_args()
folder = pathlib.Path(options.base_directory, "openssl", options.openssl, "lib")
folder.mkdir(parents=True)
folder.joinpath("libssl.so").write_text(options.openssl)
