//! `kiln explain CODE`: the page of a diagnostic's code.

use kiln::diagnostic::Code;

use crate::cli::ExplainArgs;
use crate::exit::Exit;
use crate::ui;

pub(crate) fn run(arguments: &ExplainArgs) -> Result<Exit, Exit> {
    let Some(text) = &arguments.code else {
        for (_, page) in Code::PAGES {
            ui::say(title(page));
        }
        return Ok(Exit::Done);
    };
    match Code::parse(text) {
        Some(code) => {
            ui::say(code.page().trim_end());
            Ok(Exit::Done)
        }
        None => {
            ui::complain(
                &format!("there is no code `{text}`"),
                Some("kiln explain  lists all codes"),
            );
            Err(Exit::Usage)
        }
    }
}

/// The first line of a page without its mark.
fn title(page: &str) -> &str {
    page.lines().next().unwrap_or_default().trim_start_matches("# ")
}
