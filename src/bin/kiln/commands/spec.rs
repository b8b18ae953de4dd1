//! `kiln spec`: holds the pipeline against its specs; nothing runs.

use kiln::session::{self, SpecResult};

use crate::cli::{SpecArgs, Ui};
use crate::exit::Exit;
use crate::ui;

pub(crate) fn run(arguments: &SpecArgs, form: Ui) -> Result<Exit, Exit> {
    let project = super::project(arguments.pipeline.file.as_deref())?;
    let specs = session::specs(&project).map_err(|error| {
        ui::complain(&error.to_string(), None);
        Exit::Machine
    })?;
    ui::diagnostics(&specs.sources, &specs.diagnostics, form);
    if specs.has_errors() {
        return Err(Exit::Pipeline);
    }
    let is_wanted = |spec: &&SpecResult| {
        let texts = &arguments.texts;
        texts.is_empty() || texts.iter().any(|text| spec.title.contains(text.as_str()))
    };
    let wanted: Vec<_> = specs.specs.iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        return nothing(specs.specs.len());
    }
    let mut unmet = 0;
    for spec in &wanted {
        let is_met = spec.findings.is_empty();
        unmet += usize::from(!is_met);
        match form {
            Ui::Jsonl => ui::json(&serde_json::json!({
                "type": "spec",
                "title": spec.title,
                "file": spec.file,
                "line": spec.line,
                "met": is_met,
            })),
            Ui::Quiet if is_met => {}
            _ => ui::say(&format!("{}  {}", if is_met { "met  " } else { "unmet" }, spec.title)),
        }
        ui::diagnostics(&specs.sources, &spec.findings, form);
    }
    if matches!(form, Ui::Live | Ui::Plain) {
        let met = wanted.len() - unmet;
        ui::say(&match unmet {
            0 => format!("ok: {}", ui::count(met, "spec")),
            _ => format!("{} of {} not met", unmet, ui::count(wanted.len(), "spec")),
        });
    }
    Ok(if unmet == 0 { Exit::Done } else { Exit::Unmet })
}

/// Says that there is no spec, or none of `all` that is asked for.
fn nothing(all: usize) -> Result<Exit, Exit> {
    let (what, help) = match all {
        0 => (
            "the pipeline has no specs",
            "write one: spec \"a test run\" { runs = [name] }  on lines of its own; the guide shows more"
                .to_owned(),
        ),
        all => (
            "no spec has that in its title",
            format!("kiln spec  looks at all: there {} {}", if all == 1 { "is" } else { "are" }, ui::count(all, "spec")),
        ),
    };
    ui::complain(what, Some(&help));
    Err(Exit::Usage)
}
