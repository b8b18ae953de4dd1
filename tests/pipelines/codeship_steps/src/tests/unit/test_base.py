import pathlib


def test_the_package_is_there():
    assert "VERSION" in pathlib.Path("src/cbc_sdk/__init__.py").read_text()
