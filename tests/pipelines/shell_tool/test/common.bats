test "$(echo a | tr a b)" = b
