//! The key: the digest of a step with all that can change what it makes. Knows the REAPI messages
//! `Action`, `Command` and `Platform`; does not know where inputs come from.
//!
//! In the key: the program, its arguments and scripts, the environment, the paths of the outs, all
//! inputs by content, the tools and the root, the platform, what the network reaches and how the
//! step is walled in. Not in it: names and places in the source, limits, retries, paths of the
//! machine, and the values of secrets.

use std::fmt::Write;
use std::path::Path;

use crate::cache::{Blob, Tree, TreeError, Writer, write_digest};
use crate::digest::{Digest, Hasher};
use crate::plan::step::{Network, Service, Step, Text, TextPiece};

use super::line::Line;
use super::platform;

/// Grows when the same step with the same inputs may make something else in this Kiln.
const SCHEMA: u32 = 1;

/// Where the working tree stands in the input root.
const BUILD: &str = "build";

/// How well a step is walled in. Results of one level are never taken for those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Namespaces of its own.
    Namespaces,
    /// What can be had without them, as the user asked for.
    Weak,
}

impl Level {
    /// Returns the name that people and keys use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Weak => "weak",
        }
    }
}

/// All that goes into a key beside the step itself.
#[derive(Debug)]
pub(crate) struct Ingredients<'a> {
    /// What it runs.
    pub(crate) line: &'a Line,
    /// What stands in its working tree, scripts and tools included.
    pub(crate) inputs: &'a Tree,
    /// The digest of its root: of the machine's system directories, or of a root made by a step.
    pub(crate) root: Digest,
    /// Tools of the machine: name and digest.
    pub(crate) host_tools: &'a [(String, Digest)],
    /// For each of its secrets what stands for the value; `None` if that is no part of the key.
    pub(crate) secrets: &'a [Option<Digest>],
    /// What is up beside it: see [`of_service`].
    pub(crate) services: &'a [Digest],
    /// How it is walled in.
    pub(crate) level: Level,
}

/// Returns the key of `step`.
///
/// # Errors
/// [`TreeError`] if an out lies where an input is a file.
pub(crate) fn key(step: &Step, ingredients: &Ingredients) -> Result<Digest, TreeError> {
    let command = Blob::of(&command(step, ingredients.line));
    let mut build = ingredients.inputs.clone();
    for out in step.outs.iter().filter(|out| out.is_placed) {
        let path = std::path::Path::new(&out.path);
        let is_dir = out.kind == crate::plan::artifact::OutKind::Dir;
        let room = if is_dir { Some(path) } else { path.parent() };
        build.merge(room.unwrap_or(path), &Tree::default())?;
    }
    let mut root = Tree::default();
    root.merge(BUILD, &build)?;
    let mut action = Writer::new();
    write_digest(&mut action, 1, command);
    write_digest(&mut action, 2, root.root());
    action.field_bytes(9, salt(step, ingredients).as_bytes());
    action.field_message(10, |message| platform::write(step, message));
    Ok(Digest::of(&action.finish()))
}

/// Returns what names a service in the keys of steps; `program` is the key of its program.
pub(crate) fn of_service(service: &Service, program: Digest) -> Digest {
    let mut hasher = Hasher::tagged("kiln service 1");
    hasher.field(program.as_bytes());
    hasher.field(service.port.map_or(String::new(), |port| port.to_string()).as_bytes());
    for word in &service.ready {
        hasher.field(relative(word).as_bytes());
    }
    hasher.finish()
}

/// Returns what names the kept folder of a step of `project`: all of its key but the inputs, `tools`
/// that stand among them included, so that nothing that another command or another compiler left is found.
pub(crate) fn of_kept(
    step: &Step,
    ingredients: &Ingredients,
    tools: &[(String, Tree)],
    project: &Path,
) -> Digest {
    let mut hasher = Hasher::tagged("kiln kept 2");
    hasher.field(project.as_os_str().as_encoded_bytes());
    hasher.field(step.name.as_bytes());
    for path in &step.keep {
        hasher.field(path.as_bytes());
    }
    hasher.field(b"\0");
    for (at, tree) in tools {
        hasher.field(at.as_bytes());
        hasher.field(tree.root().digest.as_bytes());
    }
    hasher.field(b"\0");
    hasher.field(&command(step, ingredients.line));
    hasher.field(salt(step, ingredients).as_bytes());
    for (_, script) in &ingredients.line.scripts {
        hasher.field(script.as_bytes());
    }
    hasher.finish()
}

/// The `Command` message.
fn command(step: &Step, line: &Line) -> Vec<u8> {
    let mut command = Writer::new();
    for argument in &line.argv {
        command.repeated_bytes(1, relative(argument).as_bytes());
    }
    for (name, value) in &line.env {
        command.field_message(2, |variable| {
            variable.field_bytes(1, name.as_bytes());
            variable.field_bytes(2, relative(value).as_bytes());
        });
    }
    command.field_message(5, |message| platform::write(step, message));
    command.field_bytes(6, BUILD.as_bytes());
    let mut outs: Vec<_> = step.outs.iter().map(|out| out.path.as_str()).collect();
    outs.sort_unstable();
    for out in outs {
        command.repeated_bytes(7, out.as_bytes());
    }
    command.finish()
}

/// The version of what a step finds that keeps its root: user 0, and what is pretended.
const ROOT_EMULATION: u32 = 1;

/// What REAPI has no field for, one thing a line. Names cannot hold a newline.
fn salt(step: &Step, ingredients: &Ingredients) -> String {
    let mut salt = format!("kiln step {SCHEMA}\n");
    let mut say = |what: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(salt, "{what} {value}");
    };
    say("level", &ingredients.level.name());
    say("network", &network(step.network));
    say("folder", &step.folder);
    say("root", &ingredients.root);
    if step.keeps_root() {
        say("kept root", &ROOT_EMULATION);
    }
    say("texts", &texts(ingredients.line));
    for (name, digest) in ingredients.host_tools {
        say("tool", &format_args!("{digest} {name}"));
    }
    for service in ingredients.services {
        say("service", service);
    }
    assert_eq!(step.secrets.len(), ingredients.secrets.len(), "each secret is in the key");
    for (secret, fingerprint) in step.secrets.iter().zip(ingredients.secrets) {
        let form = if secret.is_file { "file" } else { "value" };
        say("secret", &format_args!("{form} {} {}", secret.variable, secret.secret));
        if let Some(fingerprint) = fingerprint {
            say("secret value", fingerprint);
        }
    }
    salt
}

fn network(network: Network) -> &'static str {
    match network {
        Network::None => "none",
        Network::Loopback => "loopback",
        Network::Full => "full",
    }
}

/// Tells texts that name a build path from those that look like one: they differ in the sandbox,
/// not in their relative form.
fn texts(line: &Line) -> Digest {
    let mut hasher = Hasher::tagged("kiln texts 1");
    let named = line.env.iter().map(|(name, text)| (name.as_str(), text));
    for (name, text) in line.argv.iter().map(|text| ("", text)).chain(named) {
        hasher.field(name.as_bytes());
        for piece in &text.pieces {
            match piece {
                TextPiece::Literal(literal) => hasher.field(literal.as_bytes()),
                TextPiece::Path { path } => {
                    hasher.field(b"\0");
                    hasher.field(path.as_bytes());
                }
            }
        }
        hasher.field(b"\0end");
    }
    hasher.finish()
}

/// A text with build paths relative to the working tree.
fn relative(text: &Text) -> String {
    let piece = |piece: &TextPiece| match piece {
        TextPiece::Literal(literal) => literal.clone(),
        TextPiece::Path { path } if path.is_empty() => ".".to_owned(),
        TextPiece::Path { path } => path.clone(),
    };
    text.pieces.iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::cache::Node;
    use crate::engine::line::line;
    use crate::plan::artifact::{Out, OutKind};
    use crate::plan::step::{Command, Place, SecretUse, testing};

    /// The messages as REAPI v2 declares them; fields that Kiln never writes are left out.
    mod reapi {
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Digest {
            #[prost(string, tag = "1")]
            pub(super) hash: String,
            #[prost(int64, tag = "2")]
            pub(super) size_bytes: i64,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Pair {
            #[prost(string, tag = "1")]
            pub(super) name: String,
            #[prost(string, tag = "2")]
            pub(super) value: String,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Platform {
            #[prost(message, repeated, tag = "1")]
            pub(super) properties: Vec<Pair>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Command {
            #[prost(string, repeated, tag = "1")]
            pub(super) arguments: Vec<String>,
            #[prost(message, repeated, tag = "2")]
            pub(super) environment_variables: Vec<Pair>,
            #[prost(message, optional, tag = "5")]
            pub(super) platform: Option<Platform>,
            #[prost(string, tag = "6")]
            pub(super) working_directory: String,
            #[prost(string, repeated, tag = "7")]
            pub(super) output_paths: Vec<String>,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Action {
            #[prost(message, optional, tag = "1")]
            pub(super) command_digest: Option<Digest>,
            #[prost(message, optional, tag = "2")]
            pub(super) input_root_digest: Option<Digest>,
            #[prost(bytes = "vec", tag = "9")]
            pub(super) salt: Vec<u8>,
            #[prost(message, optional, tag = "10")]
            pub(super) platform: Option<Platform>,
        }
    }

    fn place() -> Place {
        Place { file: "pipeline.pipe".into(), line: 1, start: 0, end: 0 }
    }

    fn step() -> Step {
        let mut step = testing::step("a");
        step.commands = vec![Command::Argv {
            arguments: vec![Text::literal("cc"), Text::path("a.c"), Text::literal("")],
            place: place(),
        }];
        step.outs = ["z.o", "b.o"].map(|path| out(path, false)).to_vec();
        step
    }

    fn out(path: &str, is_placed: bool) -> Out {
        Out {
            name: path.into(),
            kind: OutKind::File,
            path: path.into(),
            is_placed,
            is_optional: false,
        }
    }

    fn secret(secret: &str, variable: &str, is_file: bool) -> SecretUse {
        let (secret, variable) = (secret.into(), variable.into());
        SecretUse { secret, variable, is_file, affects_cache: false, is_pure: false }
    }

    fn inputs(text: &str) -> Tree {
        let mut tree = Tree::default();
        let blob = Blob::of(text.as_bytes());
        tree.insert("a.c", Node::File { blob, executable: false }).unwrap();
        tree
    }

    fn made(step: &Step, inputs: &Tree, tools: &[(String, Digest)], level: Level) -> Digest {
        let line = line(step, &[]);
        let root = Digest::of(b"root");
        let ingredients = Ingredients {
            line: &line,
            inputs,
            root,
            host_tools: tools,
            secrets: &vec![None; step.secrets.len()],
            services: &[],
            level,
        };
        key(step, &ingredients).unwrap()
    }

    fn beside(step: &Step, services: &[Digest]) -> Digest {
        let line = line(step, &[]);
        let (inputs, root, level) = (&inputs("x"), Digest::of(b"root"), Level::Namespaces);
        let (host_tools, secrets) = (&[][..], &[][..]);
        let ingredients =
            Ingredients { line: &line, inputs, root, host_tools, secrets, services, level };
        key(step, &ingredients).unwrap()
    }

    fn plain(step: &Step) -> Digest {
        made(step, &inputs("x"), &[], Level::Namespaces)
    }

    #[test]
    fn the_key_is_the_digest_of_the_action_that_prost_writes() {
        let (step, inputs) = (step(), inputs("int main;"));
        let line = line(&step, &[]);
        let isa = if cfg!(target_arch = "x86_64") { "x86-64" } else { "arm-a64" };
        let pair = |name: &str, value: &str| reapi::Pair { name: name.into(), value: value.into() };
        let platform =
            reapi::Platform { properties: vec![pair("ISA", isa), pair("OSFamily", "linux")] };
        let command = reapi::Command {
            arguments: vec!["cc".into(), "a.c".into(), String::new()],
            environment_variables: line.env.iter().map(|(n, v)| pair(n, &relative(v))).collect(),
            platform: Some(platform.clone()),
            working_directory: "build".into(),
            output_paths: vec!["b.o".into(), "z.o".into()],
        };
        let digest =
            |blob: Blob| reapi::Digest { hash: blob.digest.to_hex(), size_bytes: blob.size as i64 };
        let mut root = Tree::default();
        root.merge("build", &inputs).unwrap();
        let ingredients = Ingredients {
            line: &line,
            inputs: &inputs,
            root: Digest::of(b"root"),
            host_tools: &[],
            secrets: &[],
            services: &[],
            level: Level::Namespaces,
        };
        let action = reapi::Action {
            command_digest: Some(digest(Blob::of(&command.encode_to_vec()))),
            input_root_digest: Some(digest(root.root())),
            salt: salt(&step, &ingredients).into_bytes(),
            platform: Some(platform),
        };
        assert_eq!(key(&step, &ingredients).unwrap(), Digest::of(&action.encode_to_vec()));
    }

    #[test]
    fn what_changes_the_result_changes_the_key() {
        let base = plain(&step());
        let changes: [fn(&mut Step); 9] = [
            |step| drop(step.env.insert("CC".into(), Text::literal("cc"))),
            |step| step.network = Network::Full,
            |step| step.folder = "web".into(),
            |step| step.outs[0].path = "y.o".into(),
            |step| step.outs.push(out(".kiln/out/x", true)),
            |step| step.commands.push(step.commands[0].clone()),
            |step| step.secrets = vec![secret("TOKEN", "TOKEN", false)],
            |step| step.secrets = vec![secret("OTHER", "TOKEN", false)],
            |step| step.secrets = vec![secret("TOKEN", "TOKEN", true)],
        ];
        let keys: std::collections::BTreeSet<_> = changes[6..]
            .iter()
            .map(|change| {
                let mut changed = step();
                change(&mut changed);
                plain(&changed).to_hex()
            })
            .collect();
        assert_eq!(keys.len(), 3, "secrets differ from each other");
        for (at, change) in changes.into_iter().enumerate() {
            let mut changed = step();
            change(&mut changed);
            assert_ne!(plain(&changed), base, "change {at}");
        }
        assert_ne!(made(&step(), &inputs("y"), &[], Level::Namespaces), base);
        assert_ne!(made(&step(), &inputs("x"), &[], Level::Weak), base);
        let service = [Digest::of(b"db")];
        assert_ne!(beside(&step(), &service), base);
        let tool = [("cc".to_owned(), Digest::of(b"cc"))];
        assert_ne!(made(&step(), &inputs("x"), &tool, Level::Namespaces), base);
    }

    #[test]
    fn what_does_not_change_the_result_does_not_change_the_key() {
        let mut other = step();
        other.name = "other".into();
        other.stage = "other".into();
        other.place.line = 9;
        other.limits.timeout_millis = Some(1);
        other.limits.memory_bytes = Some(1);
        other.limits.cpus = Some(2);
        other.retries = 3;
        other.may_fail = true;
        other.outs.reverse();
        other.require = vec![crate::plan::step::StepId::new(0)];
        assert_eq!(plain(&other), plain(&step()));
    }

    #[test]
    fn a_text_that_looks_like_a_path_is_not_one() {
        let mut other = step();
        other.commands = vec![Command::Argv {
            arguments: vec![Text::literal("cc"), Text::literal("a.c"), Text::literal("")],
            place: place(),
        }];
        assert_ne!(plain(&other), plain(&step()));
    }
}
