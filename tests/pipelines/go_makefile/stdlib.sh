# The functions that an .envrc has.
