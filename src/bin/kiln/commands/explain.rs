//! `kiln explain`: the page of a diagnostic's code, or what a function, field, fact or module is for.

use kiln::diagnostic::Code;
use kiln::session;

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
    let page = Code::parse(text).map(|code| code.page().trim_end().to_owned());
    let Some(page) = page.or_else(|| session::reference(text)) else {
        let message = format!("there is no code, function, field, fact or module `{text}`");
        let help = match text.starts_with("std") {
            true => "kiln explain std  lists the modules of the standard library",
            false => "kiln explain  lists all codes",
        };
        ui::complain(&message, Some(help));
        return Err(Exit::Usage);
    };
    ui::say(page.trim_end());
    Ok(Exit::Done)
}

/// The first line of a page without its mark.
fn title(page: &str) -> &str {
    page.lines().next().unwrap_or_default().trim_start_matches("# ")
}
