//! The forms in which a secret can come out of a program: as it is, and as programs write it that
//! encode, quote or escape what they are given. Knows encodings; does not look for them.

use std::collections::BTreeSet;

/// How long a form must be to be looked for: shorter ones stand in too much that is no secret.
pub(super) const MIN_BYTES: usize = 8;

/// How long a value must be to be looked for as it is.
const MIN_PLAIN_BYTES: usize = 4;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_URLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// How a secret can look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looks {
    /// Forms that stand as they are.
    pub(super) plain: BTreeSet<Vec<u8>>,
    /// Forms that programs break into lines, wherever a line is full; here without line ends.
    pub(super) wrapped: BTreeSet<Vec<u8>>,
}

/// Returns the forms of a value; those of its lines, too, if it has several.
pub(super) fn forms(value: &[u8]) -> Looks {
    let mut looks = Looks::default();
    if value.len() >= MIN_PLAIN_BYTES {
        looks.plain.insert(value.to_vec());
    }
    looks.add(value);
    let lines: Vec<_> = value.split(|byte| *byte == b'\n').collect();
    if lines.len() > 1 {
        for line in lines {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.len() >= MIN_BYTES {
                looks.add(line);
            }
        }
    }
    looks
}

impl Looks {
    fn add(&mut self, value: &[u8]) {
        let mut plain = vec![value.to_vec(), quoted(value)];
        for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            plain.extend([&b"%20"[..], b"+"].map(|space| percent(value, digits, space)));
        }
        if let Ok(text) = std::str::from_utf8(value) {
            plain.extend(json(text).map(String::into_bytes));
            plain.extend(xml(text).map(String::into_bytes));
        }
        let mut wrapped = vec![hex(value, b"0123456789abcdef"), hex(value, b"0123456789ABCDEF")];
        for alphabet in [STANDARD, FOR_URLS] {
            wrapped.extend((0..3).map(|offset| base64(value, offset, alphabet)));
        }
        self.plain.extend(plain.into_iter().filter(|form| form.len() >= MIN_BYTES));
        self.wrapped.extend(wrapped.into_iter().filter(|form| form.len() >= MIN_BYTES));
    }
}

/// Returns what stands between the quotes of a text in JSON: as most programs write it, with slashes
/// escaped, with what HTML would take for its own escaped, and in ASCII.
fn json(text: &str) -> [String; 4] {
    let json = serde_json::to_string(text).expect("a text is JSON");
    let json = &json[1..json.len() - 1];
    let escaped = |is_escaped: fn(char) -> bool| {
        let mut escaped = String::new();
        for char in json.chars() {
            match is_escaped(char) {
                true => char.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }),
                false => escaped.push(char),
            }
        }
        escaped
    };
    [
        json.to_owned(),
        json.replace('/', "\\/"),
        escaped(|char| matches!(char, '<' | '>' | '&')),
        escaped(|char| !char.is_ascii()),
    ]
}

/// Returns a text in XML and HTML: with the fewest escapes, and as attributes and programs write quotes.
fn xml(text: &str) -> [String; 5] {
    let least = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let double = least.replace('"', "&quot;");
    let single = |escape| double.replace('\'', escape);
    [single("&apos;"), single("&#39;"), single("&#x27;"), double.clone(), least]
}

pub(super) fn hex(value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let digit = |value: u8| digits[usize::from(value)];
    value.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// As `sh -x` shows it.
fn quoted(value: &[u8]) -> Vec<u8> {
    let quote = |byte: &u8| if *byte == b'\'' { b"'\\''".to_vec() } else { vec![*byte] };
    value.iter().flat_map(quote).collect()
}

fn percent(value: &[u8], digits: &[u8; 16], space: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in value {
        match byte {
            b' ' => text.extend_from_slice(space),
            b'-' | b'_' | b'.' | b'~' => text.push(*byte),
            byte if byte.is_ascii_alphanumeric() => text.push(*byte),
            byte => {
                text.push(b'%');
                text.extend(hex(&[*byte], digits));
            }
        }
    }
    text
}

/// Returns the digits of RFC 4648 that only `value` decides, where `offset` bytes stand before it in
/// what is encoded.
fn base64(value: &[u8], offset: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bytes: Vec<u8> = vec![0; offset].into_iter().chain(value.iter().copied()).collect();
    let whole = bytes.len() * 8 / 6;
    let digit = |at: usize| {
        let bit = at * 6;
        let pair = u16::from(bytes[bit / 8]) << 8
            | u16::from(bytes.get(bit / 8 + 1).copied().unwrap_or(0));
        alphabet[usize::from(pair >> (10 - bit % 8) & 63)]
    };
    (0..whole).map(digit).skip((offset * 8).div_ceil(6)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_those_that_programs_write() {
        // As `printf … | base64` says, with nothing, `x` and `xy` before it.
        assert_eq!(base64(b"hunter2!", 0, STANDARD), b"aHVudGVyMi");
        assert_eq!(base64(b"hunter2!", 1, STANDARD), b"h1bnRlcjIh");
        assert_eq!(base64(b"hunter2!", 2, STANDARD), b"odW50ZXIyI");
        assert_eq!(base64(b"\xff\xef\xff", 0, FOR_URLS), b"_-__");
        assert_eq!(hex(b"a\xff", b"0123456789abcdef"), b"61ff");
        assert_eq!(percent(b"a/ b", b"0123456789ABCDEF", b"+"), b"a%2F+b");
        assert_eq!(quoted(b"it's"), b"it'\\''s");
        assert_eq!(
            json("a/\"<é>"),
            [r#"a/\"<é>"#, r#"a\/\"<é>"#, r#"a/\"\u003cé\u003e"#, r#"a/\"<\u00e9>"#]
        );
        let [apos, decimal, hex, double, least] = xml("<a&'\"");
        assert_eq!((&*least, &*double), ("&lt;a&amp;'\"", "&lt;a&amp;'&quot;"));
        assert_eq!((&*apos, &*decimal), ("&lt;a&amp;&apos;&quot;", "&lt;a&amp;&#39;&quot;"));
        assert_eq!(hex, "&lt;a&amp;&#x27;&quot;");
    }

    #[test]
    fn a_value_of_several_lines_is_looked_for_by_its_lines() {
        let forms = forms(b"-----BEGIN-----\nc2VjcmV0IGxpbmU\nab\n");
        assert!(forms.plain.contains(&b"c2VjcmV0IGxpbmU"[..]));
        assert!(!forms.plain.contains(&b"ab"[..]));
    }

    #[test]
    fn short_values_are_looked_for_as_they_are() {
        let (plain, wrapped) = ([b"s3cr".to_vec()].into(), [b"73336372".to_vec()].into());
        assert_eq!(forms(b"s3cr"), Looks { plain, wrapped });
        assert_eq!(forms(b"abc"), Looks::default());
    }
}
