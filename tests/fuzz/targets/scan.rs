//! Any bytes become a text or a refusal, and any text becomes tokens without a gap.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(text) = kiln::internals::decode(bytes.to_vec()) {
        let tokens = kiln::internals::scan(&text);
        assert!(tokens.iter().all(|(_, token)| !token.is_empty()));
        assert_eq!(tokens.iter().map(|(_, token)| *token).collect::<String>(), text);
    }
});
