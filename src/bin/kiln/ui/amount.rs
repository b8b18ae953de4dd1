//! Amounts in words: times, bytes, counts and names in a command.

/// Returns a number with its noun: `1 step`, `3 steps`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Returns a time as people say it, with two or three figures: `340 ms`, `3.2 s`, `2 min 05 s`.
pub(crate) fn duration(millis: u64) -> String {
    let secs = millis / 1000;
    match secs {
        0 => format!("{millis} ms"),
        1..60 => format!("{secs}.{} s", millis % 1000 / 100),
        60..3600 => format!("{} min {:02} s", secs / 60, secs % 60),
        _ => format!("{} h {:02} min", secs / 3600, secs / 60 % 60),
    }
}

/// Returns a size as people say it: `812 bytes`, `3.2 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        // Tenths only where they are more than noise.
        Some((unit, name)) if bytes / unit < 10 => {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => count(usize::try_from(bytes).unwrap_or(usize::MAX), "byte"),
    }
}

/// Returns a word as a shell takes it.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/=:@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_few_figures() {
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1.0 s"),
            (59_999, "59.9 s"),
            (65_000, "1 min 05 s"),
            (3_725_000, "1 h 02 min"),
        ] {
            assert_eq!(duration(millis), text);
        }
        for (number, text) in [
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (10 << 20, "10 MiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn names_survive_a_shell() {
        assert_eq!(shell_word("web.unit"), "web.unit");
        assert_eq!(shell_word("unit[shard: 2]"), "'unit[shard: 2]'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
