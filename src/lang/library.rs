//! The standard library: modules written in Pipe that come with Kiln, as `use std.rust` names them.
//! Knows their names and texts; does not know what is in them.

mod page;

pub(crate) use page::page;

/// Each module with its text, by name.
pub(crate) const MODULES: [(&str, &str); 8] = [
    ("c", include_str!("../../stdlib/c.pipe")),
    ("go", include_str!("../../stdlib/go.pipe")),
    ("http", include_str!("../../stdlib/http.pipe")),
    ("node", include_str!("../../stdlib/node.pipe")),
    ("postgres", include_str!("../../stdlib/postgres.pipe")),
    ("python", include_str!("../../stdlib/python.pipe")),
    ("redis", include_str!("../../stdlib/redis.pipe")),
    ("rust", include_str!("../../stdlib/rust.pipe")),
];

/// The name before those of all modules.
pub(crate) const PREFIX: &str = "std.";

/// Returns the text of a module, by its name without [`PREFIX`].
pub(crate) fn text(name: &str) -> Option<&'static str> {
    MODULES.iter().find(|(own, _)| *own == name).map(|(_, text)| *text)
}

/// Returns the names of all modules, as `use` takes them.
pub(crate) fn names() -> impl Iterator<Item = String> {
    MODULES.iter().map(|(name, _)| format!("{PREFIX}{name}"))
}

/// Returns the name under which messages show the text of a module.
pub(crate) fn file(name: &str) -> String {
    format!("std/{name}.pipe")
}

/// Returns the text of the module whose text messages show under that name.
pub(crate) fn text_of_file(file: &str) -> Option<&'static str> {
    text(file.strip_prefix("std/")?.strip_suffix(".pipe")?)
}

/// Returns what a module is for: the comment that its text begins with.
pub(crate) fn summary(text: &str) -> String {
    let comment = text.lines().map_while(|line| line.strip_prefix('#'));
    comment.map(str::trim).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_the_library_is_in_the_table() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/stdlib");
        let entries = std::fs::read_dir(folder).unwrap();
        let mut files: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let own: Vec<_> = MODULES.iter().map(|(name, _)| format!("{name}.pipe")).collect();
        assert_eq!(files, own);
    }

    #[test]
    fn modules_are_found_by_name_and_by_file() {
        assert!(text("rust").is_some() && text("std.rust").is_none() && text("nope").is_none());
        assert_eq!(text_of_file(&file("c")), text("c"));
        assert_eq!(text_of_file("c.pipe"), None);
        assert_eq!(summary("# One.\n# Two.\n\n## Three.\n"), "One.\nTwo.");
    }
}
