//! Formatting a text without mistakes loses nothing that means something, gives a text without
//! mistakes, and changes nothing the second time. No text at all makes it panic.

#![no_main]

use kiln::internals;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let once = internals::format(text);
    if mistakes(text) == 0 {
        assert_eq!(meaning(text), meaning(&once), "formatted as {once:?}");
        assert_eq!(mistakes(&once), 0, "formatted as {once:?}");
        assert_eq!(internals::format(&once), once);
    }
});

fn mistakes(text: &str) -> usize {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(internals::STACK_BYTES);
        let parse = thread.spawn_scoped(scope, || internals::parse(text).len());
        parse.expect("a thread can be started").join().expect("parsing does not panic")
    })
}

/// Returns what must stay: tokens and comments, without the commas that formatting adds and takes
/// away and the blanks in strings that move with their lines.
fn meaning(text: &str) -> Vec<String> {
    let mut kept = Vec::new();
    for (means_something, token) in internals::scan(text) {
        if !means_something && token.starts_with('#') {
            kept.push(token.trim_end_matches([' ', '\t', '\r']).to_owned());
        } else if means_something && token.contains('"') {
            kept.push(token.split_whitespace().collect::<Vec<_>>().join(" "));
        } else if means_something && token != "," {
            kept.push(token.to_owned());
        }
    }
    kept
}
