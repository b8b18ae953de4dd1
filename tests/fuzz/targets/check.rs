//! Any text beside a few fixed files is refused or planned; diagnostics point into the text they
//! name, and a pipeline without errors and open params has a plan.

#![no_main]

use indexmap::IndexMap;
use kiln::session::{self, Depth, Facts};
use libfuzzer_sys::fuzz_target;

const FILES: [(&str, &str); 7] = [
    ("src/main.c", ""),
    ("src/a.c", ""),
    ("src/a.h", ""),
    ("tests/a.c", ""),
    ("Cargo.toml", ""),
    ("web/package.json", ""),
    (
        "lib/pipeline.pipe",
        "pub let flags = [\"-O2\"]\npub fn name(of: string) -> string = \"lib{{of}}\"\n\
         pub build task(src: files, level: int = 1) {\n  in src\n  run sh \"cp {{src}} {{out.o}}\"\n  \
         out o: file\n}\npub build lib = task(files(\"/src/*.c\"))\n",
    ),
];

fuzz_target!(|text: &str| {
    let mut texts: IndexMap<String, String> =
        FILES.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
    texts.insert("pipeline.pipe".to_owned(), text.to_owned());
    let loaded = session::load_texts(&texts, "pipeline.pipe", &IndexMap::new(), &Facts::default(), Depth::Plan);
    let pipeline = loaded.expect("the file is there");
    for found in &pipeline.diagnostics {
        let text = &pipeline.sources.get(found.span.source).text;
        let range = found.span.start as usize..found.span.end as usize;
        assert!(text.get(range).is_some(), "{found:?} is not in its text");
    }
    assert_eq!(pipeline.plan.is_none(), pipeline.has_errors());
});
