//! Checking scripts for habits that a cached step breaks: asking the clock, the network, the history
//! or chance, and acting on the outside. Knows programs by name; does not know what else they do.

use std::cell::LazyCell;
use std::collections::BTreeMap;

use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{Clause, ClauseKind, Expr, ExprKind, StageKind};
use crate::syntax::shell::{self, Role, Word};

/// Variables of the shell that are never the same twice.
const CHANGING: [(&str, &str); 4] = [
    ("EPOCHREALTIME", USE_THE_DAY),
    ("EPOCHSECONDS", USE_THE_DAY),
    ("RANDOM", USE_A_PARAM),
    ("SRANDOM", USE_A_PARAM),
];
const USE_THE_DAY: &str = "mention the day, {{host.date}}: what does so runs again on the next";
const USE_A_PARAM: &str = "take it from outside: param seed: int = 1";

/// Programs and their first words that fetch from the network whatever else they are told.
const FETCHING: &[(&str, &[&str])] = &[
    ("apk", &["add", "update"]),
    ("apt", &["install", "update"]),
    ("apt-get", &["install", "update"]),
    ("bundle", &["install"]),
    ("cargo", &["fetch", "install"]),
    ("composer", &["install", "update"]),
    ("dnf", &["install"]),
    ("gem", &["install"]),
    ("npm", &["ci", "i", "install"]),
    ("pip", &["download", "install"]),
    ("pip3", &["download", "install"]),
    ("pnpm", &["i", "install"]),
    ("yarn", &["install"]),
    ("yum", &["install"]),
];

/// Words that keep those programs away from the network.
const OFFLINE: [&str; 5] = ["--local", "--no-deps", "--no-index", "--offline", "--path"];

/// Programs and their first words that change something outside.
const PUBLISHING: &[(&str, &[&str])] = &[
    ("cargo", &["publish"]),
    ("docker", &["push"]),
    ("gem", &["push"]),
    ("git", &["push"]),
    ("helm", &["install", "push", "upgrade"]),
    ("kubectl", &["apply", "create", "delete", "rollout", "set"]),
    ("npm", &["publish"]),
    ("podman", &["push"]),
    ("pnpm", &["publish"]),
    ("poetry", &["publish"]),
    ("terraform", &["apply", "destroy"]),
    ("twine", &["upload"]),
    ("yarn", &["publish"]),
];

/// What of the history git is asked for, and the fact that says it.
const HISTORY: &[(&str, &str)] = &[
    ("branch", "host.git.branch ?? \"\""),
    ("describe", "host.git.tag ?? host.git.short"),
    ("log", "host.git.commit"),
    ("rev-parse", "host.git.commit"),
    ("show", "host.git.commit"),
    ("status", "host.git.dirty"),
    ("tag", "host.git.tag ?? \"\""),
];

/// A command of a script, as far as its words are known.
struct Command<'a> {
    program: &'a str,
    arguments: Vec<&'a str>,
    /// The program's place.
    span: Span,
    /// What stands behind the program on its line.
    rest: &'a str,
}

/// What a step has around its commands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    may_have_network: bool,
    has_history: bool,
}

impl Command<'_> {
    /// Returns whether a program can be part of a habit at all: most are not.
    fn is_watched(program: &str) -> bool {
        let of_tables = FETCHING.iter().chain(PUBLISHING).map(|(program, _)| *program);
        of_tables.chain(["curl", "date", "git", "go", "wget"]).any(|watched| watched == program)
    }

    /// Returns it as a message names it.
    fn named(&self) -> String {
        match self.verb() {
            Some(verb) if !is_far(verb) => format!("{} {verb}", self.program),
            _ => self.program.to_owned(),
        }
    }

    /// Returns its first word that is no option.
    fn verb(&self) -> Option<&str> {
        self.arguments.iter().find(|argument| !argument.starts_with('-')).copied()
    }

    fn is_one_of(&self, table: &[(&str, &[&str])]) -> bool {
        let verbs = table.iter().find(|(program, _)| *program == self.program);
        verbs.is_some_and(|(_, verbs)| self.verb().is_some_and(|verb| verbs.contains(&verb)))
    }

    /// Returns what it asks the history for, and the fact that says it.
    fn asks_the_history(&self) -> Option<&'static (&'static str, &'static str)> {
        let verb = self.verb().filter(|_| self.program == "git")?;
        HISTORY.iter().find(|(asked, _)| *asked == verb)
    }

    /// Whether it asks for the time of now.
    fn asks_the_clock(&self) -> bool {
        const OF_ANOTHER_TIME: [&str; 6] = ["-d", "--date", "-r", "--reference", "-f", "--file"];
        let mut rest = self.rest.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
        self.program == "date"
            && !rest.any(|word| OF_ANOTHER_TIME.iter().any(|option| word.starts_with(option)))
    }

    /// Whether it asks for the day alone, as `host.date` says it.
    fn asks_the_day(&self) -> bool {
        let mut words = self.arguments.iter().filter(|word| !matches!(**word, "-u" | "--utc"));
        let day = words.next().is_some_and(|word| matches!(*word, "+%F" | "+%Y-%m-%d" | "-I"));
        day && words.next().is_none()
    }

    /// Whether it only measures how long something takes.
    fn measures(&self) -> bool {
        self.arguments.iter().any(|argument| argument.starts_with("+%s"))
    }

    /// Whether it fetches from another machine.
    fn fetches(&self) -> bool {
        if self.is_one_of(FETCHING) {
            return !self.arguments.iter().any(|argument| OFFLINE.contains(argument));
        }
        let names_a_far_one = || self.arguments.iter().copied().any(is_far);
        match self.program {
            "curl" | "wget" => names_a_far_one(),
            "git" => self.verb().is_some_and(|verb| verb == "clone") && names_a_far_one(),
            "go" => matches!(self.arguments[..], ["get", ..] | ["mod", "download", ..]),
            _ => false,
        }
    }
}

fn habit(span: Span, message: String, help: &str) -> Diagnostic {
    Diagnostic::warning(Code::UNHERMETIC_HABIT, span, message).help(help)
}

/// Claims that a text is the address of another machine.
fn is_far(text: &str) -> bool {
    const SCHEMES: [&str; 5] = ["http://", "https://", "ftp://", "ssh://", "git@"];
    let host = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme));
    host.is_some_and(|host| {
        let is_near = ["localhost", "127.", "[::1]", "0.0.0.0"];
        !host.is_empty() && !is_near.iter().any(|near| host.starts_with(near))
    })
}

impl<'p> Checker<'p> {
    /// Warns of what a script does that a cached step breaks.
    pub(super) fn script_habits(&mut self, script: &shell::Script, scope: &mut Scope) {
        let mut commands: BTreeMap<u32, Command<'_>> = BTreeMap::new();
        let is_watched =
            |word: &&Word| word.role == Role::Command && Command::is_watched(&word.value);
        for word in script.words.iter().filter(is_watched) {
            let rest = line_from(&self.program.sources.get(word.span.source).text, word.span);
            let (program, span) = (word.value.as_str(), word.span);
            let command = Command { program, arguments: Vec::new(), span, rest };
            commands.entry(word.command).or_insert(command);
        }
        for word in script.words.iter().filter(|word| word.role == Role::Argument) {
            if let Some(command) = commands.get_mut(&word.command) {
                command.arguments.push(&word.value);
            }
        }
        let commands: Vec<_> = commands.into_values().collect();
        self.command_habits(&commands, scope);
        for variable in &script.variables {
            let name = variable.name.as_str();
            let cure = CHANGING.iter().find(|(changing, _)| *changing == name);
            if let Some((_, cure)) = cure.filter(|_| !script.sets.iter().any(|set| set == name)) {
                let message =
                    format!("`${name}` differs from run to run, and the result of one is kept");
                self.report(habit(variable.span, message, cure));
            }
        }
    }

    /// Warns of an argument list that does what a cached step breaks.
    pub(super) fn argv_habits(&mut self, argv: &'p Expr, scope: &mut Scope) {
        let ExprKind::List(elements) = &argv.kind else { return };
        let Some((first, rest)) = elements.split_first() else { return };
        let Some(program) = first.constant().filter(|it| Command::is_watched(it)) else { return };
        let arguments: Vec<_> = rest.iter().filter_map(Expr::constant).collect();
        let command = Command {
            program: &program,
            arguments: arguments.iter().map(String::as_str).collect(),
            span: first.span,
            rest: self.program.sources.text(argv.span),
        };
        self.command_habits(&[command], scope);
    }

    fn command_habits(&mut self, commands: &[Command<'_>], scope: &mut Scope) {
        let makes_history = LazyCell::new(|| {
            let makes_one = |it: &Command<'_>| matches!(it.verb(), Some("init" | "clone"));
            commands.iter().any(|it| it.program == "git" && makes_one(it))
        });
        for command in commands {
            let found = if command.is_one_of(PUBLISHING) {
                let name = command.named();
                Some((
                    format!(
                        "`{name}` acts on the outside, and a step whose result is kept does not run again"
                    ),
                    format!("do it after the run, with what is in out/: kiln run && {name} …"),
                ))
            } else if command.fetches() && !self.surroundings(scope).may_have_network {
                Some((
                    format!(
                        "`{}` wants the network, which this step does not have",
                        command.named()
                    ),
                    "fetch in a build of its own, with network = \"full\", and use its out"
                        .to_owned(),
                ))
            } else if command.asks_the_clock() && !(self.is_test(scope) && command.measures()) {
                let message = "`date` differs from run to run, and the result of one is kept";
                let problem = habit(command.span, message.to_owned(), USE_THE_DAY);
                let day = command.asks_the_day().then(|| self.fact_in_place(command, "host.date"));
                self.report(match day.flatten() {
                    Some((place, text)) => problem.edit(place, text),
                    None => problem,
                });
                None
            } else {
                let asked = command.asks_the_history();
                let asked = asked.filter(|_| !*makes_history);
                let asked = asked.filter(|_| !self.surroundings(scope).has_history);
                asked.map(|(_, fact)| {
                    let name = command.named();
                    (
                        format!("`{name}` reads the history, which is not among the step's inputs"),
                        format!("write {{{{{fact}}}}}, or take it: in host.git.repo"),
                    )
                })
            };
            if let Some((message, help)) = found {
                self.report(habit(command.span, message, &help));
            }
        }
    }

    /// Returns what to write in the place of a command that prints what a fact says, where nothing but
    /// plain words belongs to it.
    fn fact_in_place(&self, command: &Command<'_>, fact: &str) -> Option<(Span, String)> {
        let source = &self.program.sources.get(command.span.source).text;
        let (start, end) = (command.span.start as usize, command.span.end as usize);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || " +-%=_:./".contains(c);
        let plain = command.rest.find(|c| !is_plain(c)).unwrap_or(command.rest.len());
        let (words, rest) = command.rest.split_at(plain);
        let is_substituted = source[..start].ends_with("$(") && rest.starts_with(')');
        let hole = format!("{{{{{fact}}}}}");
        if is_substituted {
            let place = Span::new(command.span.source, start - 2, end + plain + 1);
            return Some((place, hole));
        }
        // A number before `>` is a part of that, and the program of a list of arguments has quotes.
        let is_whole = words.ends_with(' ') || !rest.starts_with(['>', '<']);
        let is_command = is_whole && !source[start..].starts_with('"');
        let place = Span::new(command.span.source, start, end + words.trim_end().len());
        is_command.then(|| (place, format!("echo {hole}")))
    }

    fn is_test(&self, scope: &Scope) -> bool {
        self.stage_tree(scope.item).kind == StageKind::Test
    }

    /// Returns what a step has around its commands. A template's users may say more than it does.
    fn surroundings(&self, scope: &mut Scope) -> Surroundings {
        if let Some(known) = scope.surroundings {
            return known;
        }
        let text = |expr: &Expr| self.program.sources.text(expr.span);
        let opens_network = |clause: &Clause| match &clause.kind {
            ClauseKind::Field { name, value } if name.text == "network" => {
                !matches!(text(value), "\"none\"" | "\"loopback\"")
            }
            _ => false,
        };
        let whole = |clause: &Clause| self.program.sources.text(clause.span);
        let brings_history = |clause: &Clause| match &clause.kind {
            ClauseKind::In { at: Some(at), .. } if text(at).contains(".git") => true,
            _ => whole(clause).contains("host.git.repo"),
        };
        let own = self.stage_tree(scope.item);
        let mut chain = self.chain_of(scope.item).into_iter().map(|item| self.stage_tree(item));
        let found = Surroundings {
            may_have_network: own.parameters.is_some()
                || chain.any(|stage| stage.clauses.iter().any(opens_network)),
            has_history: own.clauses.iter().any(brings_history),
        };
        scope.surroundings = Some(found);
        found
    }
}

/// Returns what stands behind a place on its line, as far as anyone writes.
fn line_from(text: &str, span: Span) -> &str {
    const MOST_BYTES: usize = 200;
    let rest = &text[span.end as usize..];
    let rest = &rest[..rest.floor_char_boundary(MOST_BYTES)];
    rest.lines().next().unwrap_or_default()
}
