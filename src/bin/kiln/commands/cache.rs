//! `kiln cache`: what the cache holds, whether it is whole, and how it is made smaller.

use kiln::session::{self, RunError};

use crate::cli::{CacheCommand, CacheVerb, Ui};
use crate::exit::Exit;
use crate::ui;
use crate::ui::amount::{bytes, count};

pub(crate) fn run(arguments: &CacheCommand, form: Ui) -> Result<Exit, Exit> {
    let folder = super::store(&arguments.cache)?;
    if !folder.exists() {
        let nothing =
            format!("the cache `{}` does not exist yet: no run has used it", folder.display());
        ui::tell(&nothing);
        return Ok(Exit::Done);
    }
    let is_json = form == Ui::Jsonl;
    let done = match &arguments.verb {
        CacheVerb::Stats => stats(&folder, is_json),
        CacheVerb::Verify => verify(&folder, is_json),
        CacheVerb::Gc(gc) => {
            collect(&folder, gc.max.unwrap_or(session::DEFAULT_STORE_BYTES), is_json)
        }
    };
    done.map_err(|error| {
        ui::complain(&error.to_string(), Some("`kiln doctor` looks at the cache, too"));
        Exit::Machine
    })
}

fn stats(folder: &std::path::Path, is_json: bool) -> Result<Exit, RunError> {
    let stats = session::stats(folder)?;
    if is_json {
        ui::json(&stats);
        return Ok(Exit::Done);
    }
    ui::say(&format!("{}: {}", folder.display(), bytes(stats.bytes)));
    ui::say(&format!("  {:>8}  results of steps", stats.records));
    ui::say(&format!("  {:>8}  files they read or made", stats.blobs));
    ui::say(&format!("  {:>8}  folders laid out for steps", stats.folders));
    if stats.kept > 0 {
        ui::say(&format!("  {:>8}  steps with something kept for their next run", stats.kept));
    }
    if stats.quarantined > 0 {
        ui::say(&format!("  {:>8}  damaged entries set aside", stats.quarantined));
    }
    Ok(Exit::Done)
}

fn verify(folder: &std::path::Path, is_json: bool) -> Result<Exit, RunError> {
    let checkup = session::verify(folder)?;
    let exit = if checkup.damaged == 0 { Exit::Done } else { Exit::Machine };
    if is_json {
        ui::json(&checkup);
        return Ok(exit);
    }
    let checked = count(usize::try_from(checkup.checked).unwrap_or(usize::MAX), "file");
    match checkup.damaged {
        0 => ui::say(&format!("{checked} read, all of them whole")),
        damaged => {
            ui::say(&format!("{checked} read, {damaged} of them damaged and set aside"));
            ui::tell(
                "  help: the next run makes them again; if it happens often, look at the disk",
            );
        }
    }
    Ok(exit)
}

fn collect(folder: &std::path::Path, max: u64, is_json: bool) -> Result<Exit, RunError> {
    let Some(collected) = session::collect(folder, max)? else {
        ui::tell("another kiln is collecting already");
        return Ok(Exit::Done);
    };
    if is_json {
        ui::json(&collected);
        return Ok(Exit::Done);
    }
    let removed = count(usize::try_from(collected.removed).unwrap_or(usize::MAX), "file");
    let freed = bytes(collected.freed_bytes);
    ui::say(&format!("{removed} removed, {freed} freed; {} are left", bytes(collected.bytes)));
    if collected.bytes > max {
        ui::tell(&format!("  note: more than {}, since runs use it now", bytes(max)));
    }
    Ok(Exit::Done)
}
