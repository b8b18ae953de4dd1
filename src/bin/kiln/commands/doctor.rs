//! `kiln doctor`: what this machine can do, and what cures what it cannot.

use kiln::session::{self, Check, Found, Machine, StoreState};

use crate::cli::{DoctorArgs, Ui};
use crate::exit::Exit;
use crate::ui;
use crate::ui::amount::{bytes, count};

/// With less room than this on its disk, a store is soon full.
const LITTLE_BYTES: u64 = 2 << 30;

pub(crate) fn run(arguments: &DoctorArgs, form: Ui) -> Result<Exit, Exit> {
    let machine = session::examine(&super::store(&arguments.cache)?, &super::environment());
    if form == Ui::Jsonl {
        ui::json(&machine);
    } else {
        show(&machine);
    }
    Ok(if machine.is_usable() { Exit::Done } else { Exit::Machine })
}

fn show(machine: &Machine) {
    ui::say("Sandbox");
    if let Some(fault) = &machine.sandbox_fault {
        say("missing", fault);
    }
    machine.sandbox.iter().flat_map(|report| &report.checks).for_each(check);
    ui::say("Cache");
    store(&machine.store);
    ui::say("Machine");
    facts(machine);
    ui::say("Programs");
    for (name, tool) in &machine.tools {
        match tool {
            Some(tool) => {
                let version = tool.version.as_ref().map(|version| format!(", {version}"));
                let path = tool.path.display();
                say("ok", &format!("{name}: {path}{}", version.unwrap_or_default()));
            }
            None => say("absent", &format!("{name}: install it if a pipeline needs it")),
        }
    }
    ui::say("");
    ui::say(match machine.is_usable() {
        true => "pipelines run on this machine",
        false => "pipelines do not run on this machine until what is missing is there",
    });
    if !machine.sandbox.as_ref().is_some_and(|report| report.is_usable()) {
        ui::say("without the sandbox, and with its promises broken: kiln run --sandbox=weak");
    }
}

fn say(word: &str, what: &str) {
    ui::say(&format!("  {word:8} {what}"));
}

fn check(check: &Check) {
    match &check.found {
        Found::Works => say("ok", &check.name),
        Found::Missing { reason, cure } => {
            let word = if check.is_needed { "missing" } else { "without" };
            say(word, &format!("{}: {reason}", check.name));
            say("", &format!("cure: {cure}"));
        }
        Found::Untried => say("unknown", &format!("{}: needs what is missing above", check.name)),
    }
}

fn store(store: &StoreState) {
    let disk = store.file_system.as_ref().map(|name| format!(" on {name}")).unwrap_or_default();
    let place = format!("{}{disk}", store.path.display());
    match (&store.fault, store.free_bytes) {
        (Some(fault), _) => {
            say("missing", fault);
            say("", "cure: name another folder with --cache DIR or KILN_CACHE");
        }
        (None, Some(free)) if free < LITTLE_BYTES => {
            say("full", &format!("{place}, only {} free", bytes(free)));
            say("", "cure: kiln cache gc --max SIZE removes old results");
        }
        (None, Some(free)) => say("ok", &format!("{place}, {} free", bytes(free))),
        (None, None) => say("ok", &place),
    }
}

fn facts(machine: &Machine) {
    let memory = match machine.memory_bytes {
        Some(memory) => format!(", {} of memory", bytes(memory)),
        None => String::new(),
    };
    say("ok", &format!("{}{memory}", count(machine.processors, "processor")));
    if let Some(kernel) = &machine.kernel {
        say("ok", kernel);
    }
    match machine.control_groups {
        Some(version) => say("ok", &format!("control groups {version}")),
        None => say("without", "control groups: steps have no limit on memory and processes"),
    }
}
