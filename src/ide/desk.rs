//! The desk: a project with unsaved texts laid over its files, and the pipelines that these are part
//! of. Knows which pipeline answers for a file; does not know what a name means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::facts::Facts;
use crate::files::{self, EntryKind, Files};
use crate::lang::late::LateData;
use crate::lang::library;
use crate::lang::module::PACKAGE_FILE;
use crate::lang::pipeline::{self, Depth, Wanted};
use crate::source::{MAX_SOURCE_BYTES, SourceId};
use crate::syntax::fmt;

use super::analysis::Analysis;
use super::complete::complete;
use super::drafts::{Changed, Drafts};
use super::rename::RenameError;
use super::{Change, Completion, Finding, Hover, Lens, Place, Symbol, hover, outline};

/// A project on an editor's desk.
#[derive(Debug)]
pub struct Desk {
    pub(super) drafts: Drafts,
    facts: Facts,
    /// Threads that the language runs on.
    pool: rayon::ThreadPool,
    pub(super) analyses: Vec<Analysis>,
    is_stale: bool,
}

impl Desk {
    /// Returns the project below `root`, an absolute path, of which no file is open.
    ///
    /// # Panics
    /// If the machine has no more threads to give.
    pub fn new(root: PathBuf, facts: Facts) -> Self {
        Self {
            drafts: Drafts::new(root),
            facts,
            pool: pipeline::threads(),
            analyses: Vec::new(),
            is_stale: false,
        }
    }

    /// Returns the root of the project that the file at `path`, an absolute path, is in.
    pub fn root_of(path: &Path) -> PathBuf {
        let folder = path.parent().unwrap_or(path);
        let package = files::nearest_package(folder);
        files::project_root(package.as_deref().unwrap_or(folder)).to_owned()
    }

    /// Lays a text over a file; that file is open from now on.
    pub fn open(&mut self, file: &str, text: String) {
        self.drafts.insert(file, text);
        self.is_stale = true;
    }

    /// Takes the text over a file away.
    pub fn close(&mut self, file: &str) {
        self.drafts.remove(file);
        self.is_stale = true;
    }

    /// Looks at the disk and the machine anew.
    pub fn refresh(&mut self, facts: Facts) {
        self.facts = facts;
        self.drafts.forget();
        self.is_stale = true;
    }

    /// Returns whether any file is open.
    pub fn is_empty(&self) -> bool {
        self.drafts.names().next().is_none()
    }

    /// Analyses all pipelines that open files are part of, if anything has changed.
    pub fn analyse(&mut self) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        let known: Vec<_> = self.analyses.drain(..).map(|analysis| analysis.root).collect();
        let mut analyses = Vec::new();
        for root in known {
            let analysis = self
                .load(&root)
                .filter(|analysis| self.drafts.names().any(|file| analysis.source(file).is_some()));
            analyses.extend(analysis.filter(|it| !is_known(&analyses, &it.root)));
        }
        let open: Vec<_> = self.drafts.names().map(str::to_owned).collect();
        for file in &open {
            if !is_known(&analyses, file)
                && let Some(analysis) = self.home(file)
            {
                analyses.retain(|other| analysis.source(&other.root).is_none());
                analyses.push(analysis);
            }
        }
        self.analyses = analyses;
    }

    /// Returns the outermost pipeline of the folders above a file that uses it; else the one that it
    /// is itself.
    fn home(&self, file: &str) -> Option<Analysis> {
        let mut folders: Vec<_> = std::iter::successors(Some(files::parent(file)), |folder| {
            (!folder.is_empty()).then(|| files::parent(folder))
        })
        .collect();
        folders.reverse();
        let packages = folders.into_iter().map(|folder| files::join(folder, PACKAGE_FILE));
        let packages = packages.filter(|it| self.drafts.kind(it) == Some(EntryKind::File));
        packages
            .chain([file.to_owned()])
            .find_map(|root| self.load(&root).filter(|analysis| analysis.source(file).is_some()))
    }

    /// Checks that changes make no new mistake.
    ///
    /// # Errors
    /// The first mistake they make.
    pub(super) fn try_out(&self, changes: &[Change], new: &str) -> Result<(), RenameError> {
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for change in changes.iter().rev() {
            let file = change.place.file.as_str();
            let text = texts.entry(file).or_insert_with(|| self.text(file).unwrap_or_default());
            text.replace_range(change.place.range.clone(), &change.text);
        }
        let files = Changed { files: &self.drafts, texts: &texts };
        for before in &self.analyses {
            let after = self.pool.install(|| self.analysis(&files, &before.root));
            let Some(after) = after else { continue };
            let known: Vec<_> = before.loaded.diagnostics.iter().map(|it| it.code).collect();
            let found = after.loaded.diagnostics;
            if found.len() > known.len()
                && let Some(found) = found.iter().find(|found| !known.contains(&found.code))
            {
                return Err(RenameError::Breaks(new.to_owned(), found.message.clone()));
            }
        }
        Ok(())
    }

    fn load(&self, root: &str) -> Option<Analysis> {
        self.pool.install(|| self.analysis(&self.drafts, root))
    }

    /// The thread needs the stack of the pool's.
    fn analysis(&self, files: &dyn Files, root: &str) -> Option<Analysis> {
        let params = IndexMap::new();
        let wanted = Wanted {
            params: &params,
            facts: &self.facts,
            late: &LateData::default(),
            depth: Depth::Specs,
            explained: true,
        };
        Analysis::new(files, root, wanted).ok()
    }

    /// Returns the analysis that answers for a file.
    pub(super) fn of(&self, file: &str) -> Option<(&Analysis, SourceId)> {
        self.analyses.iter().find_map(|it| Some((it, it.source(file)?)))
    }

    /// Returns the text of a file as it was analysed, or as it is on the disk.
    pub fn text(&self, file: &str) -> Option<String> {
        if let Some(text) = self.drafts.get(file) {
            return Some(text.clone());
        }
        if let Some((analysis, source)) = self.of(file) {
            return Some(analysis.program().sources.get(source).text.clone());
        }
        match self.drafts.read(file, MAX_SOURCE_BYTES) {
            Ok(bytes) => String::from_utf8(bytes).ok(),
            Err(_) => library::text_of_file(file).map(str::to_owned),
        }
    }

    /// Returns what is wrong with each file of the pipelines; the list of a file may be empty.
    pub fn findings(&self) -> BTreeMap<String, Vec<Finding>> {
        let mut findings = BTreeMap::new();
        for analysis in &self.analyses {
            let own = analysis.program().modules.iter().filter(|module| !module.is_library);
            for module in own {
                let file = &module.path;
                findings.entry(file.clone()).or_insert_with(|| analysis.findings(file));
            }
        }
        findings
    }

    /// Returns where what stands at a place is declared.
    pub fn definition(&self, file: &str, offset: usize) -> Option<Place> {
        let (analysis, source) = self.of(file)?;
        let (_, thing) = analysis.thing_at(source, offset)?;
        analysis.target(&thing)
    }

    /// Returns what there is to know of what stands at a place.
    pub fn hover(&self, file: &str, offset: usize) -> Option<Hover> {
        let (analysis, source) = self.of(file)?;
        hover::hover(analysis, source, offset)
    }

    /// Returns what could be written at a place.
    pub fn complete(&self, file: &str, offset: usize) -> Vec<Completion> {
        let Some((analysis, _)) = self.of(file) else { return Vec::new() };
        let Some(text) = self.text(file) else { return Vec::new() };
        let offset = text.floor_char_boundary(offset);
        self.pool.install(|| complete(&self.drafts, &analysis.root, file, &text, offset))
    }

    /// Returns the items of a file.
    pub fn symbols(&self, file: &str) -> Vec<Symbol> {
        self.of(file).map_or(Vec::new(), |(analysis, source)| outline::symbols(analysis, source))
    }

    /// Returns the stages of a file that can be run.
    pub fn lenses(&self, file: &str) -> Vec<Lens> {
        self.of(file).map_or(Vec::new(), |(analysis, source)| outline::lenses(analysis, source))
    }

    /// Returns the text of a file in the one style; `None` if mistakes of its text keep it from that.
    pub fn format(&self, file: &str) -> Option<String> {
        let bytes = self.text(file)?.into_bytes();
        self.pool.install(|| fmt::format_file(bytes).1.ok())
    }
}

fn is_known(analyses: &[Analysis], file: &str) -> bool {
    analyses.iter().any(|analysis| analysis.source(file).is_some())
}
