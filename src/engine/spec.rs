//! The step as a sandbox is asked for it. Knows where its parts stand in the working tree; starts
//! nothing.

use std::path::Path;
use std::time::Duration;

use crate::plan::Plan;
use crate::plan::artifact::OutKind;
use crate::plan::step::{MAX_SERVICES, Network, Service, Step, Text, TextPiece};
use crate::planted::{Bug, is_planted};
use crate::sandbox::{self, Scratch, Spec, Word};

use super::line::CURRENT;
use super::log::MAX_LOG_BYTES;
use super::ready::{Laid, Ready};

const _: () =
    assert!(MAX_SERVICES <= sandbox::MAX_SERVICES, "a sandbox has room for a step's services");

/// Where a step is at home that keeps its root, as user 0.
const HOME_OF_ROOT: &str = "/root";

/// Returns what a sandbox is asked for one run of `step`; what it captures goes to `capture`.
pub(super) fn spec(
    plan: &Plan,
    step: &Step,
    ready: &Ready,
    laid: &Laid,
    scratch: Scratch,
    capture: &Path,
) -> Spec {
    let mut env: Vec<_> =
        ready.line.env.iter().map(|(name, value)| (name.into(), word(value))).collect();
    let home = match step.keeps_root() {
        true => HOME_OF_ROOT.into(),
        false => sandbox::Place::Home.into(),
    };
    for (name, place) in [("HOME", home), ("TMPDIR", sandbox::Place::Temp.into())] {
        if !ready.line.env.contains_key(name) {
            env.push((name.into(), place));
        }
    }
    let mounts = laid
        .tools
        .iter()
        .map(|(at, folder)| sandbox::Mount { at: at.clone(), tree: folder.path().to_owned() });
    Spec {
        root: match &laid.root {
            None => sandbox::Root::Host,
            Some(folder) => sandbox::Root::Tree(folder.path().to_owned()),
        },
        lowers: laid.layers.iter().map(|folder| folder.path().to_owned()).collect(),
        mounts: mounts.collect(),
        host_paths: laid.host_paths.clone(),
        argv: ready.line.argv.iter().map(word).collect(),
        env,
        cwd: step.folder.clone(),
        network: match step.network {
            Network::None => sandbox::Network::None,
            Network::Loopback => sandbox::Network::Loopback,
            Network::Full => sandbox::Network::Full,
        },
        limits: sandbox::Limits {
            timeout: step.limits.timeout_millis.map(Duration::from_millis),
            memory: step.limits.memory_bytes,
            processes: step.limits.processes,
            scratch: step.limits.scratch_bytes,
            log: (!is_planted(Bug::EndlessLogs))
                .then_some(step.limits.log_bytes.unwrap_or(MAX_LOG_BYTES)),
        },
        scratch,
        outs: out_paths(step, ready),
        capture: capture.to_owned(),
        files: Vec::new(),
        keep: None,
        gone: Vec::new(),
        streams: None,
        services: services(plan, step, ready, laid),
    }
}

/// Returns which of what is captured is what the step changed, behind its outs.
pub(super) fn changes_at(step: &Step, ready: &Ready) -> usize {
    step.outs.len() + usize::from(ready.line.has_current)
}

fn services(plan: &Plan, step: &Step, ready: &Ready, laid: &Laid) -> Vec<sandbox::Service> {
    let all = plan.services_of(step).zip(ready.services.iter().zip(&laid.services));
    let service = |((_, service), (ready, laid)): ((&str, &Service), (&Ready, &Laid))| {
        let capture = Path::new("");
        sandbox::Service {
            program: spec(plan, &service.program, ready, laid, Scratch::Memory, capture),
            port: service.port,
            ready: (!service.ready.is_empty()).then(|| service.ready.iter().map(word).collect()),
            within: Duration::from_millis(service.within_millis),
        }
    };
    all.map(service).collect()
}

fn out_paths(step: &Step, ready: &Ready) -> Vec<sandbox::OutPath> {
    let path = |out: &crate::plan::artifact::Out| sandbox::OutPath {
        path: out.path.clone(),
        kind: match out.kind {
            OutKind::Dir => sandbox::OutKind::Dir,
            OutKind::File | OutKind::Junit => sandbox::OutKind::File,
            OutKind::Image => sandbox::OutKind::Root,
        },
        placed: out.is_placed,
    };
    let mut paths: Vec<_> = step.outs.iter().map(path).collect();
    if ready.line.has_current {
        let path = CURRENT.to_owned();
        paths.push(sandbox::OutPath { path, kind: sandbox::OutKind::File, placed: false });
    }
    let path = String::new();
    paths.push(sandbox::OutPath { path, kind: sandbox::OutKind::Changes, placed: false });
    paths
}

fn word(text: &Text) -> Word {
    let mut pieces = Vec::new();
    for piece in &text.pieces {
        match piece {
            TextPiece::Literal(literal) => pieces.push(sandbox::Piece::Text(literal.into())),
            TextPiece::Path { path } => {
                pieces.push(sandbox::Piece::Place(sandbox::Place::Build));
                if !path.is_empty() {
                    pieces.push(sandbox::Piece::Text(format!("/{path}").into()));
                }
            }
        }
    }
    Word(pieces)
}
