//! Any text gets a tree and diagnostics that point into it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mistakes = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(kiln::internals::STACK_BYTES);
        let parse = thread.spawn_scoped(scope, || kiln::internals::parse(text));
        parse.expect("a thread can be started").join().expect("parsing does not panic")
    });
    for span in mistakes {
        assert!(text.get(span.clone()).is_some(), "{span:?} is no part of the text");
    }
});
