//! The catalog: what a pipeline offers to the people who run it. Knows stages and params with their
//! doc comments; does not know what a stage does.

use serde::Serialize;

use super::module::Program;
use crate::plan::step::StepKind;
use crate::source::Span;
use crate::syntax::ast::{Item, ItemKind, StageKind};

/// What a pipeline offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Catalog {
    /// The stages, in the order of the files.
    pub stages: Vec<CatalogStage>,
    /// The params, in the order of the files.
    pub params: Vec<CatalogParam>,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogStage {
    /// Its name with its module, as commands take it.
    pub name: String,
    /// What it is for.
    pub kind: StepKind,
    /// Its doc comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// The names of its axes; empty for a stage of one row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub axes: Vec<String>,
    /// What must hold for it to run, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The names of the outs it declares itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outs: Vec<String>,
    /// Where its name stands.
    pub span: Span,
}

/// A param.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogParam {
    /// Its name with its module, as `-p` takes it.
    pub name: String,
    /// Its type as written.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its default as written; `None` for one that must be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Its doc comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// Where its name stands.
    pub span: Span,
}

/// Returns the catalog of `program`.
pub(crate) fn catalog(program: &Program) -> Catalog {
    let mut catalog = Catalog::default();
    for (_, module) in program.iter() {
        for item in &module.ast.items {
            add(program, &module.prefix, item, &mut catalog);
        }
    }
    catalog
}

fn add(program: &Program, prefix: &str, item: &Item, catalog: &mut Catalog) {
    let text = |span| program.sources.text(span).trim_end().to_owned();
    let doc = item.doc.clone();
    match &item.kind {
        ItemKind::Stage(stage) if stage.is_run() => {
            use crate::syntax::ast::ClauseKind::Out;
            catalog.stages.push(CatalogStage {
                name: format!("{prefix}{}", stage.name.text),
                kind: match stage.kind {
                    StageKind::Build => StepKind::Build,
                    StageKind::Test => StepKind::Test,
                    StageKind::Service => StepKind::Service,
                },
                doc,
                axes: stage.axes.iter().map(|axis| axis.name.text.clone()).collect(),
                condition: stage.condition.as_ref().map(|condition| text(condition.span)),
                outs: stage
                    .clauses
                    .iter()
                    .filter_map(|clause| match &clause.kind {
                        Out { name, .. } => Some(name.text.clone()),
                        _ => None,
                    })
                    .collect(),
                span: stage.name.span,
            });
        }
        ItemKind::Param(param) => catalog.params.push(CatalogParam {
            name: format!("{prefix}{}", param.name.text),
            ty: text(param.ty.span),
            default: param.default.as_ref().map(|default| text(default.span)),
            doc,
            span: param.name.span,
        }),
        _ => {}
    }
}
