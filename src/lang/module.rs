//! Modules: the files of a pipeline, read and parsed. Knows which file uses which; does not know
//! what the names in them mean.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use rayon::prelude::*;

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::files::{self, Entry, EntryKind, Files, FilesError};
use crate::source::{MAX_SOURCE_BYTES, SourceId, Sources, Span};
use crate::syntax::ast::{self, DataFile, DataFormat, ItemKind, Name, Use};
use crate::syntax::{parse, scan};

use super::data::Data;
use super::library;
use super::ty::ModuleId;

/// The most files one pipeline may have.
pub(crate) const MAX_MODULES: usize = 1024;

/// The most `use` clauses from the first file to any other.
pub(crate) const MAX_IMPORT_DEPTH: usize = 64;

/// The name of the file that makes a folder a package.
pub(crate) const PACKAGE_FILE: &str = "pipeline.pipe";

/// All files of a pipeline.
#[derive(Debug, Default)]
pub(crate) struct Program {
    /// The texts.
    pub(crate) sources: Sources,
    /// The data files that expressions name, by the module they stand in, format and path as written;
    /// `None` for one that could not be read, which was reported.
    pub(crate) data: BTreeMap<DataKey, Option<Data>>,
    /// The parsed files, the root first, then in order of first use, breadth first.
    pub(crate) modules: Vec<Module>,
}

/// What names a data file: the module that does, the format, and the path as written.
pub(crate) type DataKey = (ModuleId, DataFormat, String);

/// One file.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its project path; of the standard library, what messages call it.
    pub(crate) path: String,
    /// What stands before its stages' names: empty for the root, else the way of aliases to it.
    pub(crate) prefix: String,
    /// Whether it is of the standard library. It stands in no folder of the project.
    pub(crate) is_library: bool,
    /// Its tree.
    pub(crate) ast: ast::Module,
    /// Whether the tree holds all that the text says. A part with a mistake is not in it, so that
    /// what seems to be missing may stand there.
    pub(crate) is_whole: bool,
    /// What its `use` items name, by alias; `None` for one that could not be loaded.
    pub(crate) imports: IndexMap<String, Import>,
}

/// One `use`.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// The file; `None` if it could not be loaded, which was reported.
    pub(crate) module: Option<ModuleId>,
    /// The place of the item in the file's items.
    pub(crate) item: usize,
}

impl Module {
    /// Returns the project path of the folder that globs and commands start from.
    pub(crate) fn folder(&self) -> &str {
        if self.is_library { "" } else { files::parent(&self.path) }
    }
}

impl Program {
    /// Returns the module with that id.
    pub(crate) fn module(&self, id: ModuleId) -> &Module {
        &self.modules[id.index()]
    }

    /// Returns the module of a file of the project.
    pub(crate) fn find(&self, file: &str) -> Option<(ModuleId, &Module)> {
        self.iter().find(|(_, module)| !module.is_library && module.path == file)
    }

    /// Returns the modules with their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ModuleId, &Module)> {
        self.modules.iter().enumerate().map(|(at, module)| (ModuleId(at as u32), module))
    }
}

/// Reads and parses the file at `root`, a project path, and all it uses.
///
/// # Errors
/// If the root itself cannot be read. Everything else is a diagnostic.
pub(crate) fn load(
    project: &dyn Files,
    root: &str,
) -> Result<(Program, Vec<Diagnostic>), FilesError> {
    let mut loader = Loader {
        project,
        program: Program::default(),
        diagnostics: Vec::new(),
        by_path: BTreeMap::new(),
    };
    let text = read(project, root)?;
    loader.by_path.insert(root.to_owned(), ModuleId::ROOT);
    let (path, prefix) = (root.to_owned(), String::new());
    loader.add_wave(vec![NewFile { path, prefix, text, is_library: false }]);
    let mut wave = vec![ModuleId::ROOT];
    for depth in 0.. {
        let uses = loader.uses(&wave);
        let next = loader.resolve(uses, depth);
        if next.is_empty() {
            break;
        }
        wave = loader.add_wave(next);
    }
    loader.read_data();
    let Loader { program, mut diagnostics, .. } = loader;
    diagnostics.extend(import_cycles(&program));
    Ok((program, diagnostics))
}

/// Returns the text of a file, or what is wrong with it.
fn read(project: &dyn Files, path: &str) -> Result<Result<String, Box<Diagnostic>>, FilesError> {
    match project.read(path, MAX_SOURCE_BYTES) {
        Ok(bytes) => Ok(scan::decode(SourceId(0), bytes)),
        Err(FilesError::TooLarge { .. }) => Ok(Err(Box::new(scan::too_large()))),
        Err(error) => Err(error),
    }
}

/// A file that was read and has no id yet.
struct NewFile {
    path: String,
    prefix: String,
    text: Result<String, Box<Diagnostic>>,
    is_library: bool,
}

struct Loader<'a> {
    project: &'a dyn Files,
    program: Program,
    diagnostics: Vec<Diagnostic>,
    by_path: BTreeMap<String, ModuleId>,
}

/// A `use` to follow: who says it, which item it is, and what it says.
struct OpenUse {
    user: ModuleId,
    item: usize,
    used: Use,
}

impl Loader<'_> {
    /// Parses files side by side and gives them the next ids.
    fn add_wave(&mut self, files: Vec<NewFile>) -> Vec<ModuleId> {
        let mut texts = Vec::new();
        for NewFile { path, prefix, text, is_library } in files {
            let (text, problem) = match text {
                Ok(text) => (text, None),
                Err(problem) => (String::new(), Some(problem)),
            };
            let source = self.program.sources.add(path.clone(), text);
            if let Some(mut problem) = problem {
                problem.span.source = source;
                self.diagnostics.push(*problem);
            }
            texts.push(((path, prefix, is_library), source));
        }
        let sources = &self.program.sources;
        let parsed: Vec<_> = texts
            .par_iter()
            .map(|(_, source)| parse::parse(*source, &sources.get(*source).text))
            .collect();
        let mut ids = Vec::new();
        for ((named, _), (ast, problems)) in texts.into_iter().zip(parsed) {
            let (path, prefix, is_library) = named;
            ids.push(ModuleId(self.program.modules.len() as u32));
            let is_whole = problems.iter().all(|found| found.severity != Severity::Error);
            self.diagnostics.extend(problems);
            let imports = IndexMap::new();
            let module = Module { path, prefix, is_library, ast, is_whole, imports };
            self.program.modules.push(module);
        }
        ids
    }

    /// Reads the data files that all modules name.
    fn read_data(&mut self) {
        let named = self.program.iter().flat_map(|(module, tree)| {
            tree.ast.data.iter().map(move |file| (module, file.clone()))
        });
        for (module, DataFile { format, path }) in named.collect::<Vec<_>>() {
            let key = (module, format, path.text.clone());
            if !self.program.data.contains_key(&key) {
                let data = self.data(module, format, &path);
                let data = data.map_err(|problem| self.diagnostics.push(*problem)).ok();
                self.program.data.insert(key, data);
            }
        }
    }

    fn data(
        &self,
        module: ModuleId,
        format: DataFormat,
        path: &Name,
    ) -> Result<Data, Box<Diagnostic>> {
        let error = |code, message: String| Diagnostic::error(code, path.span, message);
        let at = files::project_path(self.program.module(module).folder(), &path.text);
        let Some(at) = at else {
            let problem = error(Code::BAD_PATH, format!("`{}` leaves the project", path.text));
            return Err(Box::new(problem.help("a pipeline reads files of its own project; start the path with `/` to count from the project's root")));
        };
        let bytes = self.project.read(&at, MAX_SOURCE_BYTES).map_err(|fault| {
            let problem = error(Code::UNREADABLE, fault.to_string());
            match self.project.kind(&at) {
                Some(_) => problem.help("name a file of at most 4 MiB that may be read"),
                None => {
                    let is_file = |entry: &Entry| entry.kind == EntryKind::File;
                    self.near(problem, (&path.text, path.span), &at, "", is_file)
                }
            }
        })?;
        Data::parse(format, &bytes).map_err(|words| {
            let format = format.words();
            let problem = error(Code::BAD_DATA, format!("`{}` is no {format}: {words}", path.text));
            Box::new(problem.help(format!("mend the file; a checker of {format} says the same")))
        })
    }

    /// Adds the nearest to `path` among what stands in its folder and `fits`. The path is written as
    /// `text`, in quotes at `span`; one without a folder begins with `start`.
    fn near(
        &self,
        problem: Diagnostic,
        (text, span): (&str, Span),
        path: &str,
        start: &str,
        fits: fn(&Entry) -> bool,
    ) -> Diagnostic {
        let entries = self.project.list(files::parent(path)).unwrap_or_default();
        let names = entries.iter().filter(|entry| fits(entry)).map(|entry| entry.name.as_str());
        let wanted = path.rsplit('/').next().unwrap_or_default();
        match super::nearest::nearest(wanted, names) {
            Some(name) => {
                let near = match text.rsplit_once('/') {
                    Some((folder, _)) => format!("{folder}/{name}"),
                    None => format!("{start}{name}"),
                };
                problem.help(format!("did you mean \"{near}\"?")).edit(span, format!("\"{near}\""))
            }
            None => problem.help("the path counts from the folder of this file; start it with `/` to count from the project's root"),
        }
    }

    fn uses(&self, wave: &[ModuleId]) -> Vec<OpenUse> {
        let mut uses = Vec::new();
        for &user in wave {
            for (item, used) in self.program.module(user).ast.items.iter().enumerate() {
                if let ItemKind::Use(used) = &used.kind {
                    uses.push(OpenUse { user, item, used: used.clone() });
                }
            }
        }
        uses
    }

    /// Binds each `use` and returns the files that are new.
    fn resolve(&mut self, uses: Vec<OpenUse>, depth: usize) -> Vec<NewFile> {
        let mut next = Vec::new();
        for OpenUse { user, item, used } in uses {
            let Some(alias) = self.alias(&used) else { continue };
            let found = match used.is_module {
                true => library_module(&used),
                false => self.find(user, &used),
            };
            let module = match found {
                Ok(path) => self.module_at(user, &alias, &path, &used, depth, &mut next),
                Err(problem) => {
                    self.diagnostics.push(*problem);
                    None
                }
            };
            let imports = &mut self.program.modules[user.index()].imports;
            imports.entry(alias).or_insert(Import { module, item });
        }
        next
    }

    /// The name after `as`, or the last name of the path.
    fn alias(&mut self, used: &Use) -> Option<String> {
        let alias = alias(used);
        if alias.is_none() {
            let path = &used.path.text;
            self.diagnostics.push(
                Diagnostic::error(
                    Code::SYNTAX,
                    used.path.span,
                    format!("`{path}` gives no name that the language can use"),
                )
                .help(format!("name it: use \"{path}\" as {}", nameable(path)))
                .edit(
                    Span::at(used.path.span.source, used.path.span.end as usize),
                    format!(" as {}", nameable(path)),
                ),
            );
        }
        alias
    }

    /// Returns the id of the file at `path`, or of the module of that name, reading it if it is new.
    fn module_at(
        &mut self,
        user: ModuleId,
        alias: &str,
        path: &str,
        used: &Use,
        depth: usize,
        next: &mut Vec<NewFile>,
    ) -> Option<ModuleId> {
        if let Some(&id) = self.by_path.get(path) {
            return Some(id);
        }
        let limit = match () {
            () if self.by_path.len() >= MAX_MODULES => {
                Some(format!("more than {MAX_MODULES} files"))
            }
            () if depth >= MAX_IMPORT_DEPTH => {
                Some(format!("more than {MAX_IMPORT_DEPTH} `use` in a row"))
            }
            () => None,
        };
        let read = match limit {
            Some(limit) => Err((Code::OVER_BUDGET, format!("the pipeline has {limit}"))),
            None => match library_text(path) {
                Some((file, text)) => Ok((file, Ok(text.to_owned()), true)),
                None => read(self.project, path)
                    .map(|text| (path.to_owned(), text, false))
                    .map_err(|error| (Code::MODULE_NOT_FOUND, error.to_string())),
            },
        };
        match read {
            Ok((file, text, is_library)) => {
                let id = ModuleId(self.by_path.len() as u32);
                self.by_path.insert(path.to_owned(), id);
                let prefix = format!("{}{alias}.", self.program.module(user).prefix);
                next.push(NewFile { path: file, prefix, text, is_library });
                Some(id)
            }
            Err((code, message)) => {
                self.diagnostics.push(Diagnostic::error(code, used.path.span, message));
                None
            }
        }
    }

    /// Returns the project path of the file that a `use` names.
    fn find(&self, user: ModuleId, used: &Use) -> Result<String, Box<Diagnostic>> {
        let (text, span) = (&used.path.text, used.path.span);
        let folder = self.program.module(user).folder();
        let Some(path) = files::project_path(folder, text) else {
            let message = format!("`{text}` leaves the project");
            let problem = Diagnostic::error(Code::BAD_PATH, span, message)
                .help("a pipeline uses files of its own project; start the path with `/` to count from the project's root");
            return Err(Box::new(problem));
        };
        if text.ends_with(".pipe") {
            return match self.project.kind(&path) {
                Some(_) => Ok(path),
                None => Err(Box::new(self.not_found(span, text, &path))),
            };
        }
        let file = files::join(&path, PACKAGE_FILE);
        match self.project.kind(&path) {
            Some(EntryKind::Folder) if self.project.kind(&file).is_some() => Ok(file),
            Some(EntryKind::Folder) => {
                let message = format!("the folder `{text}` has no `{PACKAGE_FILE}`");
                let help = format!(
                    "a folder with a `{PACKAGE_FILE}` is a package; a single file is used as \"{text}/name.pipe\""
                );
                let problem = Diagnostic::error(Code::MODULE_NOT_FOUND, span, message).help(help);
                Err(Box::new(problem))
            }
            _ => Err(Box::new(self.not_found(span, text, &path))),
        }
    }

    fn not_found(&self, span: Span, text: &str, path: &str) -> Diagnostic {
        let problem =
            Diagnostic::error(Code::MODULE_NOT_FOUND, span, format!("nothing stands at `{text}`"));
        let is_module =
            |entry: &Entry| entry.kind == EntryKind::Folder || entry.name.ends_with(".pipe");
        self.near(problem, (text, span), path, "./", is_module)
    }
}

/// Returns the name that a `use` gives: the one after `as`, else the last name of its path without
/// `.pipe`; `None` if that is no name of the language.
pub(crate) fn alias(used: &Use) -> Option<String> {
    if let Some(alias) = &used.alias {
        return Some(alias.text.clone());
    }
    if used.is_module {
        return used.path.text.rsplit('.').next().map(str::to_owned);
    }
    let last = used.path.text.trim_end_matches('/').rsplit('/').next()?;
    let name = last.strip_suffix(".pipe").unwrap_or(last);
    scan::is_word(name).then(|| name.to_owned())
}

/// Returns the name nearest to the last one of a path.
fn nameable(path: &str) -> String {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let last = last.strip_suffix(".pipe").unwrap_or(last);
    let part = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = last.chars().map(part).collect();
    let name = name.trim_matches('_');
    match scan::is_word(name) {
        true => name.to_owned(),
        false => "lib".to_owned(),
    }
}

/// Returns the name of the module of the standard library that a `use` names.
fn library_module(used: &Use) -> Result<String, Box<Diagnostic>> {
    let Name { text, span } = &used.path;
    if text.strip_prefix(library::PREFIX).is_some_and(|name| library::text(name).is_some()) {
        return Ok(text.clone());
    }
    let names: Vec<_> = library::names().collect();
    let of_library = format!("{}{}", library::PREFIX, text.rsplit('.').next().unwrap_or(text));
    let is_known = names.contains(&of_library);
    let near = super::nearest::nearest(text, names.iter().map(String::as_str)).map(str::to_owned);
    let message = match text.starts_with(library::PREFIX) {
        true => format!("the standard library has no module `{text}`"),
        false => format!("there is no module `{text}`"),
    };
    let problem = Diagnostic::error(Code::MODULE_NOT_FOUND, *span, message);
    Err(Box::new(match near.or(is_known.then_some(of_library)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")).edit(*span, near),
        None => problem.help(format!(
            "the library has {}; a file or folder of the project is written in quotes: use \"./{}\"",
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            text.rsplit('.').next().unwrap_or(text)
        )),
    }))
}

/// Returns what messages call a module of the standard library, and its text. Paths of files end in
/// `.pipe`, so none is the name of a module.
fn library_text(path: &str) -> Option<(String, &'static str)> {
    let name = path.strip_prefix(library::PREFIX)?;
    Some((library::file(name), library::text(name)?))
}

/// Reports each circle of files once, at the `use` that closes it.
fn import_cycles(program: &Program) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut done = BTreeSet::new();
    // The way from the root to here: each module and how many of its imports were followed.
    let mut way: Vec<(ModuleId, usize)> = vec![(ModuleId::ROOT, 0)];
    while let Some((here, followed)) = way.last_mut() {
        let Some((_, import)) = program.module(*here).imports.get_index(*followed) else {
            done.insert(*here);
            way.pop();
            continue;
        };
        *followed += 1;
        let Some(next) = import.module.filter(|next| !done.contains(next)) else { continue };
        match way.iter().position(|(module, _)| *module == next) {
            Some(start) => diagnostics.push(cycle(program, &way[start..])),
            None => way.push((next, 0)),
        }
    }
    diagnostics
}

/// Words one circle: each module of `way` uses the next, the last uses the first.
fn cycle(program: &Program, way: &[(ModuleId, usize)]) -> Diagnostic {
    let name = |id: ModuleId| &program.module(id).path;
    let edge = |&(user, followed): &(ModuleId, usize)| {
        let module = program.module(user);
        let item = module.imports[followed - 1].item;
        match &module.ast.items[item].kind {
            ItemKind::Use(used) => used.path.span,
            _ => module.ast.items[item].span,
        }
    };
    let mut path: Vec<_> = way.iter().map(|(module, _)| format!("`{}`", name(*module))).collect();
    path.push(path[0].clone());
    let last = way.last().expect("a circle has a module");
    let mut problem = Diagnostic::error(
        Code::IMPORT_CYCLE,
        edge(last),
        format!("files use each other in a circle: {}", path.join(" → ")),
    )
    .label("closes the circle")
    .help("move what both need into a third file and `use` that from both");
    for (at, step) in way[..way.len() - 1].iter().enumerate() {
        problem = problem.also(edge(step), format!("uses `{}`", name(way[at + 1].0)));
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Memory;

    fn load_all(files: &[(&str, &str)]) -> (Program, Vec<String>) {
        let mut memory = Memory::default();
        files.iter().for_each(|(path, text)| memory.insert(*path, *text));
        let (program, diagnostics) = load(&memory, "pipeline.pipe").unwrap();
        let messages = diagnostics.iter().map(|found| format!("{}: {}", found.code, found.message));
        (program, messages.collect())
    }

    #[test]
    fn folders_files_and_aliases_name_modules() {
        let (program, problems) = load_all(&[
            ("pipeline.pipe", "use \"./web\"\nuse \"./ci/box.pipe\" as tools\n"),
            ("web/pipeline.pipe", "use \"/ci/box.pipe\"\n"),
            ("ci/box.pipe", ""),
        ]);
        assert_eq!(problems, [""; 0]);
        let paths: Vec<_> = program.modules.iter().map(|module| module.path.as_str()).collect();
        assert_eq!(paths, ["pipeline.pipe", "web/pipeline.pipe", "ci/box.pipe"]);
        let prefixes: Vec<_> =
            program.modules.iter().map(|module| module.prefix.as_str()).collect();
        assert_eq!(prefixes, ["", "web.", "tools."]);
        assert_eq!(program.modules[1].imports["box"].module, Some(ModuleId(2)));
    }

    #[test]
    fn circles_are_shown_with_their_whole_path() {
        let (_, problems) = load_all(&[
            ("pipeline.pipe", "use \"./a.pipe\"\n"),
            ("a.pipe", "use \"./b.pipe\"\n"),
            ("b.pipe", "use \"./a.pipe\"\n"),
        ]);
        assert_eq!(
            problems,
            ["K0208: files use each other in a circle: `a.pipe` → `b.pipe` → `a.pipe`"]
        );
    }

    #[test]
    fn a_wrong_path_offers_the_nearest() {
        let (_, problems) = load_all(&[
            ("pipeline.pipe", "use \"./wbe\"\nuse \"../x\"\nuse \"./empty\"\n"),
            ("web/pipeline.pipe", ""),
            ("empty/readme", ""),
        ]);
        assert_eq!(
            problems,
            [
                "K0210: nothing stands at `./wbe`",
                "K0503: `../x` leaves the project",
                "K0210: the folder `./empty` has no `pipeline.pipe`",
            ]
        );
    }

    #[test]
    fn too_deep_imports_stop() {
        let files: Vec<_> = (0..80)
            .map(|at| {
                let name = if at == 0 { "pipeline.pipe".into() } else { format!("m{at}.pipe") };
                (name, format!("use \"./m{}.pipe\"\n", at + 1))
            })
            .collect();
        let files: Vec<_> =
            files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let (program, problems) = load_all(&files);
        assert_eq!(program.modules.len(), MAX_IMPORT_DEPTH + 1);
        assert_eq!(problems, ["K0802: the pipeline has more than 64 `use` in a row"]);
    }
}
