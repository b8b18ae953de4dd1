test "$(./direnv version)" = 2.32.1
