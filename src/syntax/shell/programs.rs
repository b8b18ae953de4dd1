//! What commands do with their words: which run them as code, evaluate them or take them as names.
//! Knows builtins, shells and interpreters by name; does not know quotes.

use super::word::{Draft, is_name};
use super::{Takes, Unsafe};

/// Builtins whose arguments are names, with or without a value.
pub(super) const DECLARES: &[&str] = &["export", "readonly", "local", "declare", "typeset"];

/// Commands that run another one, given in their arguments.
const WRAPPERS: &[&str] = &[
    "command", "builtin", "exec", "env", "sudo", "doas", "nohup", "nice", "ionice", "setsid",
    "stdbuf", "time", "timeout", "xargs", "sshpass", "retry", "docker", "podman", "nix", "busybox",
];

const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"];

/// Options of shells that take the next word.
const SHELL_OPTIONS: &[&str] = &["--rcfile", "--init-file", "-o", "+o", "-O", "+O"];

/// Commands that hand the word behind `-c` to a shell.
const SHELL_RUNNERS: &[&str] = &["su", "runuser", "script", "flock", "sg"];

/// Builtins that run or expand their arguments.
const EVALUATORS: &[&str] = &["eval", "compgen", "complete", "bind"];

/// An interpreter of programs given as an argument.
struct Interpreter {
    name: &'static str,
    /// The letters of the options whose argument is a program.
    program: &'static str,
    /// The long options of the same meaning.
    long: &'static [&'static str],
    /// The letters of other options that take an argument.
    other: &'static str,
}

const INTERPRETERS: &[Interpreter] = &[
    Interpreter { name: "python", program: "c", long: &[], other: "WX" },
    Interpreter { name: "python3", program: "c", long: &[], other: "WX" },
    Interpreter { name: "perl", program: "eE", long: &[], other: "IMm" },
    Interpreter { name: "ruby", program: "e", long: &[], other: "ICr" },
    Interpreter { name: "node", program: "ep", long: &["--eval", "--print"], other: "r" },
    Interpreter { name: "php", program: "r", long: &["--run"], other: "cdf" },
    Interpreter { name: "lua", program: "e", long: &[], other: "l" },
];

const AWKS: &[&str] = &["awk", "gawk", "mawk", "nawk"];

/// The letters of the options of `ssh` that take an argument.
const SSH_OPTIONS: &str = "BbcDEeFIiJLlmOopQRSWw";

/// What a command's words say about holes and names.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Holes and what they take after all.
    pub(super) takes: Vec<(usize, Takes)>,
    /// The names that the command sets.
    pub(super) sets: Vec<String>,
    /// The names that it makes evaluate what is assigned to them.
    pub(super) integers: Vec<String>,
    /// Why what it reads from its standard input takes no holes: it runs that.
    pub(super) runs_input: Option<Unsafe>,
    /// The holes that it prints.
    pub(super) prints: Vec<usize>,
    /// Whether it may set names that nobody can see.
    pub(super) sets_unknown: bool,
}

impl Verdict {
    fn refuse(&mut self, holes: &[usize], reason: &Unsafe) {
        let refused = |&hole| (hole, Takes::Nothing(reason.clone()));
        self.takes.extend(holes.iter().map(refused));
    }

    fn evaluate(&mut self, holes: &[usize]) {
        self.takes.extend(holes.iter().map(|&hole| (hole, Takes::Int)));
    }

    /// Takes a word as the name of a variable, perhaps with an index and a value.
    fn name(&mut self, word: &Draft) {
        let (name_holes, name) = match &word.assignment {
            Some(assignment) => (&word.holes[..assignment.holes], assignment.name.as_str()),
            None => {
                let text = word.prefix();
                (&word.holes[..], text.split('[').next().unwrap_or_default())
            }
        };
        if word.prefix().split_once('[').is_some_and(|(array, _)| is_name(array)) {
            self.evaluate(name_holes);
        } else {
            self.refuse(name_holes, &Unsafe::VariableName);
        }
        if is_name(name) {
            self.sets.push(name.to_owned());
        }
    }
}

/// Returns what a simple command does with its words, its name first.
pub(super) fn judge(words: &[Draft]) -> Verdict {
    let mut verdict = Verdict::default();
    let is_prefix = |word: &&Draft| matches!(word.bare(), Some("command" | "builtin" | "exec"));
    let prefixes = words.iter().take_while(is_prefix).count();
    if let Some((name, arguments)) = words[prefixes..].split_first() {
        judge_builtin(name.literal().unwrap_or_default(), arguments, &mut verdict);
    }
    judge_programs(words, &mut verdict);
    verdict
}

fn judge_builtin(name: &str, arguments: &[Draft], verdict: &mut Verdict) {
    let all = || arguments.iter().flat_map(|word| word.holes.iter().copied()).collect::<Vec<_>>();
    match name {
        _ if EVALUATORS.contains(&name) => {
            verdict.refuse(&all(), &Unsafe::Evaluated(name.to_owned()));
            verdict.sets_unknown |= name == "eval";
        }
        "trap" => {
            let (_, operands) = options(arguments, "", |_, _| {});
            if let Some(action) = operands.first() {
                verdict.refuse(&action.holes, &Unsafe::Evaluated("trap".to_owned()));
            }
        }
        "alias" => verdict.refuse(&all(), &Unsafe::Evaluated("alias".to_owned())),
        "let" => verdict.evaluate(&all()),
        "." | "source" => verdict.sets_unknown = true,
        "echo" | "printf" => {
            verdict.prints = all();
            name_options(arguments, "v", "", name == "printf", verdict);
        }
        "read" => {
            let operands = name_options(arguments, "a", "dinNptu", true, verdict);
            operands.iter().for_each(|word| verdict.name(word));
        }
        "mapfile" | "readarray" => {
            let operands = name_options(arguments, "", "dnOsuCc", true, verdict);
            operands.iter().for_each(|word| verdict.name(word));
        }
        "wait" => {
            name_options(arguments, "p", "", true, verdict);
        }
        "unset" => {
            let operands = name_options(arguments, "", "", true, verdict);
            let known = verdict.sets.len();
            operands.iter().for_each(|word| verdict.name(word));
            verdict.sets.truncate(known);
        }
        "getopts" => {
            arguments.get(1).into_iter().for_each(|word| verdict.name(word));
            verdict.sets.extend(["OPTARG".to_owned(), "OPTIND".to_owned()]);
        }
        "test" | "[" => judge_exists(arguments, verdict),
        _ if DECLARES.contains(&name) => judge_declaration(arguments, verdict),
        _ => {}
    }
}

fn judge_declaration(arguments: &[Draft], verdict: &mut Verdict) {
    let (mut is_integer, mut is_reference) = (false, false);
    let (_, operands) = options(arguments, "", |letter, _| {
        is_integer |= letter == 'i';
        is_reference |= letter == 'n';
    });
    for word in operands {
        verdict.name(word);
        let Some(assignment) = &word.assignment else { continue };
        if is_integer {
            verdict.evaluate(&word.holes[assignment.holes..]);
        }
        if is_reference {
            verdict.refuse(&word.holes[assignment.holes..], &Unsafe::VariableName);
        }
    }
    if is_integer {
        let names =
            operands.iter().map(|word| word.assignment.as_ref().map_or(word.prefix(), |a| &a.name));
        verdict.integers.extend(names.map(str::to_owned));
    }
}

/// Returns what `[[ … ]]` does with its words, `[[` first.
pub(super) fn judge_test(words: &[Draft]) -> Verdict {
    let mut verdict = Verdict::default();
    judge_exists(words, &mut verdict);
    for window in words.windows(3) {
        if matches!(window[1].bare(), Some("-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge")) {
            verdict.evaluate(&window[0].holes);
            verdict.evaluate(&window[2].holes);
        }
    }
    verdict
}

/// Judges the names behind `-v`.
fn judge_exists(words: &[Draft], verdict: &mut Verdict) {
    for pair in words.windows(2) {
        if matches!(pair[0].bare(), Some("-v" | "-R")) {
            verdict.evaluate(&pair[1].holes);
        }
    }
}

/// Reads options; the words behind those in `names` are names, the words behind those in `others`
/// are not. Returns the operands.
fn name_options<'a>(
    arguments: &'a [Draft],
    names: &str,
    others: &str,
    has_options: bool,
    verdict: &mut Verdict,
) -> &'a [Draft] {
    if !has_options {
        return arguments;
    }
    let taking = format!("{names}{others}");
    let (_, operands) = options(arguments, &taking, |letter, argument| {
        if let Some(argument) = argument.filter(|_| names.contains(letter)) {
            verdict.name(argument);
        }
    });
    operands
}

/// Reads the options before the operands, `-abc` as `-a -b -c`. Those in `taking` take the rest
/// of their word or else the next one, which `each` gets. Returns how many words the options take,
/// and the operands.
fn options<'a>(
    arguments: &'a [Draft],
    taking: &str,
    mut each: impl FnMut(char, Option<&'a Draft>),
) -> (usize, &'a [Draft]) {
    let mut at = 0;
    while let Some(word) = arguments.get(at) {
        let text = word.prefix();
        if text == "--" && word.text.len() == 2 {
            at += 1;
            break;
        }
        if !text.starts_with('-') && !text.starts_with('+') || word.text.len() == 1 {
            break;
        }
        at += 1;
        if text.starts_with("--") {
            continue;
        }
        for (index, letter) in text.char_indices().skip(1) {
            let is_last = index + letter.len_utf8() == word.text.len();
            if !taking.contains(letter) {
                each(letter, None);
            } else if is_last {
                each(letter, arguments.get(at));
                at = (at + 1).min(arguments.len());
            } else {
                each(letter, Some(word));
                break;
            }
        }
    }
    (at, &arguments[at..])
}

/// Judges shells, interpreters and remote commands among the words.
fn judge_programs(words: &[Draft], verdict: &mut Verdict) {
    let is_wrapped = words
        .first()
        .is_some_and(|word| word.program().is_some_and(|name| WRAPPERS.contains(&name)));
    // Two programs in one command are rare, and words that only look like one must not make
    // the time quadratic: each kind is judged once.
    let mut is_shell_known = false;
    for (number, word) in words.iter().enumerate() {
        let Some(name) = word.program() else { continue };
        let arguments = &words[number + 1..];
        if SHELLS.contains(&name) && !is_shell_known {
            is_shell_known = judge_shell(name, arguments, number == 0 || is_wrapped, verdict);
        }
        if number > 0 && !is_wrapped {
            continue;
        }
        let is_judged = match name {
            "ssh" => judge_ssh(arguments, verdict),
            _ if AWKS.contains(&name) => judge_awk(name, arguments, verdict),
            _ if SHELL_RUNNERS.contains(&name) => judge_runner(name, arguments, verdict),
            _ => match INTERPRETERS.iter().find(|known| known.name == name) {
                Some(interpreter) => judge_interpreter(interpreter, arguments, verdict),
                None => false,
            },
        };
        if is_judged {
            break;
        }
    }
}

/// Judges the arguments of a shell. Returns whether it was given a program.
fn judge_shell(name: &str, arguments: &[Draft], is_run: bool, verdict: &mut Verdict) -> bool {
    let mut at = 0;
    let (mut has_program, mut reads_input) = (false, false);
    while let Some(word) = arguments.get(at) {
        let text = word.prefix();
        let is_option = text.starts_with(['-', '+']) && text.len() > 1;
        if !is_option || text == "--" {
            at += usize::from(text == "--");
            break;
        }
        let is_short = !text.starts_with("--");
        has_program |= is_short && text.starts_with('-') && text.contains('c');
        reads_input |= is_short && text.starts_with('-') && text.contains('s');
        let takes_next = SHELL_OPTIONS.contains(&text) || is_short && text.ends_with('o');
        at += if takes_next { 2 } else { 1 };
    }
    let operand = arguments.get(at);
    if has_program {
        if let Some(program) = operand {
            let reason = Unsafe::Program { interpreter: name.to_owned(), option: "-c".to_owned() };
            verdict.refuse(&program.holes, &reason);
        }
    } else if is_run && (reads_input || operand.is_none_or(|word| word.literal() == Some("-"))) {
        verdict.runs_input = Some(Unsafe::Input(name.to_owned()));
    }
    has_program
}

fn judge_interpreter(
    interpreter: &Interpreter,
    arguments: &[Draft],
    verdict: &mut Verdict,
) -> bool {
    let taking = format!("{}{}", interpreter.program, interpreter.other);
    let mut programs = Vec::new();
    let (_, operands) = options(arguments, &taking, |letter, argument| {
        if interpreter.program.contains(letter) {
            programs.extend(argument.map(|word| (format!("-{letter}"), word)));
        }
    });
    if let [first, second, ..] = arguments
        && let Some(long) = first.literal().filter(|text| interpreter.long.contains(text))
    {
        programs.push((long.to_owned(), second));
    }
    for (option, word) in &programs {
        let reason =
            Unsafe::Program { interpreter: interpreter.name.to_owned(), option: option.clone() };
        verdict.refuse(&word.holes, &reason);
    }
    let is_input = operands.first().is_none_or(|word| word.literal() == Some("-"));
    if programs.is_empty() && is_input {
        verdict.runs_input = Some(Unsafe::Input(interpreter.name.to_owned()));
    }
    true
}

fn judge_awk(name: &str, arguments: &[Draft], verdict: &mut Verdict) -> bool {
    let mut has_file = false;
    let (_, operands) = options(arguments, "Fvfie", |letter, _| has_file |= letter == 'f');
    if let (false, Some(program)) = (has_file, operands.first()) {
        verdict.refuse(&program.holes, &Unsafe::Awk(name.to_owned()));
    }
    true
}

fn judge_runner(name: &str, arguments: &[Draft], verdict: &mut Verdict) -> bool {
    for pair in arguments.windows(2) {
        if matches!(pair[0].literal(), Some("-c" | "--command")) {
            let option = "-c".to_owned();
            let reason = Unsafe::Program { interpreter: name.to_owned(), option };
            verdict.refuse(&pair[1].holes, &reason);
        }
    }
    true
}

fn judge_ssh(arguments: &[Draft], verdict: &mut Verdict) -> bool {
    options(arguments, SSH_OPTIONS, |letter, argument| {
        let runs = |word: &&Draft| word.prefix().contains("Command=");
        if let Some(option) = argument.filter(|_| letter == 'o').filter(runs) {
            verdict.refuse(&option.holes, &Unsafe::Remote);
        }
    });
    let (_, operands) = options(arguments, SSH_OPTIONS, |_, _| {});
    // Behind the host come options once more, then the remote command.
    let behind = operands.get(1..).unwrap_or_default();
    let (_, command) = options(behind, SSH_OPTIONS, |_, _| {});
    for word in command {
        verdict.refuse(&word.holes, &Unsafe::Remote);
    }
    let program = command.first().map(|word| word.prefix().split(' ').next().unwrap_or_default());
    let is_shell = |name: &str| SHELLS.contains(&name.rsplit('/').next().unwrap_or_default());
    if !operands.is_empty() && program.is_none_or(is_shell) {
        verdict.runs_input = Some(Unsafe::Input("ssh".to_owned()));
    }
    true
}
