//! How fast plans run, beside ninja without a sandbox and beside bare processes. Each case is built
//! by each tool in turn, round by round, in folders of its own; phase by phase.
//!
//! `cargo bench --bench engine` prints the tables of `docs/performance.md`; with `-- NAME…`, only
//! of cases that have one of these in their names. Needs `ninja` and `gcc`; `n2` is measured, too,
//! where it is in the `PATH`.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts processes and reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it finds")]

mod case;
mod floor;
mod tool;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use case::{Case, Phase};
use tool::Tool;

/// How often everything is done, if a case does not say otherwise.
const ROUNDS: usize = 5;

/// Times of a phase by tool, one a round.
type Times = BTreeMap<(Phase, Tool), Vec<Duration>>;

fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    // Each try has a folder of its own and none is removed before the end: for minutes after files
    // were removed, ext4 makes new ones many times slower.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("bench-engine-{}", std::process::id()));
    let mut colds = BTreeMap::new();
    for case in case::all() {
        if wanted.is_empty() || wanted.iter().any(|word| case.name.contains(word.as_str())) {
            let times = measure(&case, &folder.join(case.name.replace(' ', "-")));
            for phase in [Phase::Cold, Phase::Null] {
                let time = median(&times, phase, Tool::Kiln);
                time.map(|time| colds.insert((case.shape, phase, case.steps), time));
            }
        }
    }
    print_growth(&colds);
    let _ = fs::remove_dir_all(&folder);
}

/// Does all rounds of a case and prints its table.
fn measure(case: &Case, folder: &Path) -> Times {
    let mut times = Times::new();
    let mut peaks = BTreeMap::new();
    for round in 0..case.rounds {
        for tool in Tool::all() {
            let place = folder.join(format!("{}-{round}", tool.name()));
            case.make(&place);
            let phases: &[Phase] = if tool == Tool::Exec { &[Phase::Cold] } else { &case.phases };
            if tool == Tool::Exec && case.scripts.is_empty() {
                continue;
            }
            for &phase in phases {
                let (time, peak) = phase.run(tool, case, &place);
                times.entry((phase, tool)).or_default().push(time);
                let most = peaks.entry((phase, tool)).or_insert(0);
                *most = peak.max(*most);
            }
        }
        floor::measure(case, &folder.join(format!("ninja-{round}")), &mut times);
    }
    print_case(case, &times);
    let peak = |phase, tool| peaks.get(&(phase, tool)).map_or(0, |kib| kib >> 10);
    println!(
        "\nPeak memory in MiB: kiln {} cold, {} null; ninja {} and {}.\n",
        peak(Phase::Cold, Tool::Kiln),
        peak(Phase::Null, Tool::Kiln),
        peak(Phase::Cold, Tool::Ninja),
        peak(Phase::Null, Tool::Ninja),
    );
    times
}

fn print_case(case: &Case, times: &Times) {
    let tools: Vec<_> = Tool::all().filter(|tool| *tool != Tool::Exec).collect();
    let names: Vec<_> = tools.iter().map(|tool| tool.name()).collect();
    println!("| {}, ms | floor | {} | kiln / ninja |", case.name, names.join(" | "));
    println!("|---|---|{}---|", "---|".repeat(tools.len()));
    for &phase in &case.phases {
        let cell = |tool| median(times, phase, tool).map_or(String::new(), |ms| format!("{ms:.0}"));
        let cells: Vec<_> = tools.iter().map(|tool| cell(*tool)).collect();
        let ratio = median(times, phase, Tool::Kiln)
            .zip(median(times, phase, Tool::Ninja))
            .map_or(String::new(), |(kiln, ninja)| format!("{:.2}", kiln / ninja));
        println!("| {} | {} | {} | {ratio} |", phase.name(), cell(Tool::Exec), cells.join(" | "));
    }
}

/// Returns the median in milliseconds.
fn median(times: &Times, phase: Phase, tool: Tool) -> Option<f64> {
    let mut times = times.get(&(phase, tool))?.clone();
    times.sort_unstable();
    Some(times.get(times.len() / 2)?.as_secs_f64() * 1e3)
}

/// Prints with which power of the number of steps the time grows, for each shape.
fn print_growth(times: &BTreeMap<(&str, Phase, usize), f64>) {
    for ((shape, phase, steps), time) in times {
        let Some(more) = times.get(&(*shape, *phase, steps * 10)) else { continue };
        println!(
            "{shape}, {}: from {steps} to {} steps the time grows with the power of {:.2}",
            phase.name(),
            steps * 10,
            (more / time).log10()
        );
    }
}
