//! What real shells receive from rendered scripts, and what the analysis says about them.

use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::source::SourceId;
use crate::syntax::ast::{Expr, ExprKind, StringForm};
use crate::syntax::parse;

const BOTH: &[Shell] = &[Shell::Sh, Shell::Bash];
const BASH: &[Shell] = &[Shell::Bash];

/// Values that mean something to a shell.
const NASTY: &[&str] = &[
    "plain",
    "",
    " ",
    "two  words",
    " around ",
    "'",
    "\"",
    "'\"'\"'",
    "$(touch x)",
    "`touch x`",
    "${HOME}",
    "$HOME $$ $1",
    "$((1+1))",
    "a\nb",
    "\n",
    "end\n\n",
    ";touch x",
    "&& touch x",
    "| touch x #",
    "# no comment",
    "*",
    "?[a-z]*",
    "~",
    "-n",
    "--",
    "-",
    "\\",
    "\\\\",
    "a\\",
    "\\'",
    "\\n",
    "!!",
    "!",
    "{a,b}",
    "x=1",
    "EOF",
    "\nEOF\ntouch x\n",
    "a\tb",
    "zwölf ☃ 中",
    "}",
    ")",
    "]]",
    "a[$(touch x)]",
    "&",
    "/",
    "<x",
    ">x",
];

/// Returns a script as the parser would make it; holes are written `{{name}}`.
fn literal(text: &str) -> StringLiteral {
    let source = SourceId(0);
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("{{") {
        let open = at + found;
        let close = open + text[open..].find("}}").expect("a closed hole") + 2;
        let span = Span::new(source, at, open);
        pieces.push(Piece::Text { text: text[at..open].to_owned(), span });
        let span = Span::new(source, open, close);
        let name = text[open + 2..close - 2].trim().to_owned();
        let expr = Expr { span, kind: ExprKind::Name(name) };
        pieces.push(Piece::Hole { expr, span });
        at = close;
    }
    let span = Span::new(source, at, text.len());
    pieces.push(Piece::Text { text: text[at..].to_owned(), span });
    StringLiteral { form: StringForm::Verbatim, pieces }
}

fn analysed(language: Shell, text: &str) -> Script {
    analyse(language, &literal(text))
}

/// Runs a script as steps do, in an empty folder; returns what it prints and the files it leaves.
#[expect(clippy::disallowed_methods, reason = "the test is about what real shells receive")]
fn run(language: Shell, text: &str, env: &[(String, String)]) -> (String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = match language {
        Shell::Sh => Command::new("sh"),
        Shell::Bash => Command::new("bash"),
    };
    match language {
        Shell::Sh => command.args(["-eu", "-c", text]),
        Shell::Bash => command.args(["-euo", "pipefail", "-c", text]),
    };
    let path = "/usr/local/bin:/usr/bin:/bin";
    command.current_dir(folder.path()).env_clear().env("PATH", path).env("LC_ALL", "C.UTF-8");
    command.envs(env.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{language:?} failed: {errors}\n{text}");
    let files = std::fs::read_dir(folder.path()).unwrap();
    let files = files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    (String::from_utf8(output.stdout).unwrap(), files)
}

/// Prints every argument.
const SHOW: &str = "show() { for a in \"$@\"; do printf '<%s>' \"$a\"; done; }\n";

/// Runs `text` once for each value, all in one script; every hole in it holds the value. What it
/// prints must be `expected` with the value for `V`.
fn arrives(languages: &[Shell], text: &str, expected: &str, values: &[&str]) {
    let holes = text.matches("{{").count();
    for &language in languages {
        let script = format!("{SHOW}{}", format!("{text}\necho '|'\n").repeat(values.len()));
        let script = literal(&script);
        let analysis = analyse(language, &script);
        assert_eq!(diagnostics(&script, &analysis), [], "{language:?}: {text}");
        let rendered = render(&script, &analysis, &vec![Value::One; values.len() * holes]);
        let env: Vec<_> = (0..values.len() * holes)
            .map(|hole| (variable(hole, None), values[hole / holes].to_owned()))
            .collect();
        let (printed, files) = run(language, &rendered, &env);
        let expected: String =
            values.iter().map(|value| expected.replace('V', value) + "|\n").collect();
        assert_eq!(printed, expected, "{language:?}: {text}\n{rendered}");
        assert!(!files.contains(&"x".to_owned()), "{language:?} ran a value: {text}");
    }
}

#[test]
fn values_arrive_verbatim_in_every_context() {
    let table: &[(&[Shell], &str, &str)] = &[
        (BOTH, "show {{v}}", "<V>"),
        (BOTH, "show a {{v}} b", "<a><V><b>"),
        (BOTH, "show --x={{v}}y", "<--x=Vy>"),
        (BOTH, "show pre{{v}}'q'\"w\"", "<preVqw>"),
        (BOTH, "show \"{{v}}\"", "<V>"),
        (BOTH, "show \"a '{{v}}' b\"", "<a 'V' b>"),
        (BOTH, "show '{{v}}'", "<V>"),
        (BOTH, "show 'a \"{{v}}\" $b'", "<a \"V\" $b>"),
        (BOTH, "show '\\{{v}}'", "<\\V>"),
        (BOTH, "show \"\\\\{{v}}\"", "<\\V>"),
        (BOTH, "x={{v}}; show \"$x\"", "<V>"),
        (BOTH, "x=a{{v}}b; show \"$x\"", "<aVb>"),
        (BOTH, "x='{{v}}' y=2; show \"$x\"", "<V>"),
        (BOTH, "export X={{v}}; show \"$X\"", "<V>"),
        (BOTH, "readonly_() { local y={{v}}; show \"$y\"; }; readonly_", "<V>"),
        (BOTH, "X={{v}} sh -c 'printf \"<%s>\" \"$X\"'", "<V>"),
        (BOTH, "env X={{v}} sh -c 'printf \"<%s>\" \"$X\"'", "<V>"),
        (BOTH, "sh -c 'printf \"<%s>\" \"$1\"' sh {{v}}", "<V>"),
        (BOTH, "for f in {{v}}; do show \"$f\"; done", "<V>"),
        (BOTH, "for f in a {{v}} b\ndo show \"$f\"; done", "<a><V><b>"),
        (BOTH, "case {{v}} in {{w}}) show same ;; *) show other ;; esac", "<same>"),
        (BOTH, "case a{{v}}b in (a*b) show inner ;; esac", "<inner>"),
        (BOTH, "show \"$(printf '%s.' {{v}})\"", "<V.>"),
        (BOTH, "show \"$(printf '%s.' \"$(printf '%s.' '{{v}}')\")\"", "<V..>"),
        (BOTH, "show $(test {{v}} = \"{{w}}\" && echo yes)", "<yes>"),
        (BOTH, "cat <<EOF\na{{v}}b\nEOF", "aVb\n"),
        (BOTH, "cat <<EOF\n\"{{v}}\" '{{w}}'\nEOF", "\"V\" 'V'\n"),
        (BOTH, "cat <<-EOF\n\ta{{v}}b\n\tEOF", "aVb\n"),
        (BOTH, "cat <<EOF\n$(printf '%s.' {{v}})\nEOF", "V.\n"),
        (BOTH, "cat <<A - <<B; show {{v}}\nfirst\nA\nsecond {{w}}\nB", "second V\n<V>"),
        (BOTH, "show ${none-{{v}}}", "<V>"),
        (BOTH, "show \"${none:-{{v}}}\"", "<V>"),
        (&[Shell::Sh], "show \"${none:-a'{{v}}'b}\"", "<a'V'b>"),
        (BOTH, "show \"${none:-a'b'{{v}}}\"", "<a'b'V>"),
        (BOTH, "show ${none:-'{{v}}'}", "<V>"),
        (BOTH, "show ${none:-\"{{v}}\"}", "<V>"),
        (BOTH, "x={{v}}/a; show \"${x#{{w}}}\" ${x#{{u}}}", "</a></a>"),
        (BOTH, "x=a/{{v}}; show \"${x%{{w}}}\"", "<a/>"),
        (BOTH, "(show {{v}})", "<V>"),
        (BOTH, "{ show {{v}}; }", "<V>"),
        (BOTH, "if test {{v}} = {{w}}; then show {{u}}; fi", "<V>"),
        (BOTH, "f() { show \"$1\"; }; f {{v}}", "<V>"),
        (BOTH, "show {{v}} | cat", "<V>"),
        (BOTH, "printf '%s' {{v}} > out; cat out; rm out", "V"),
        (BOTH, "# it's {{v}}\nshow {{w}} # \"{{u}}", "<V>"),
        (BOTH, "show a\\\n{{v}}", "<aV>"),
        (BOTH, "show {{v}}\\\n", "<V>"),
        (BOTH, "echo `echo it\\'s` >&2; show {{v}}", "<V>"),
        (BOTH, "show $(case a in a) echo ok ;; esac) {{v}}", "<ok><V>"),
        (BOTH, "show \"$(case a in (a) echo ok ;; esac)\" {{v}}", "<ok><V>"),
        (BOTH, "show $((1 + (2)*3)) {{v}} $(( 3<<1 ))", "<7><V><6>"),
        (BOTH, "h=abc; show \"${#h}${h#a}$#\" {{v}}", "<3bc0><V>"),
        (BASH, "[[ {{v}} == {{w}} ]] && show same", "<same>"),
        (BASH, "[[ a{{v}}b == a\"{{w}}\"* ]] && show same", "<same>"),
        (BASH, "[[ x{{v}}y =~ ^x({{w}})y$ ]] && show same", "<same>"),
        (BASH, "[[ ! ( {{v}} != '{{w}}' ) &&\n a < b ]] && show same", "<same>"),
        (BASH, "cat <<< {{v}}", "V\n"),
        (BASH, "cat <<<\"a{{v}}b\"", "aVb\n"),
        (BASH, "a=({{v}} b); show \"${a[@]}\"", "<V><b>"),
        (BASH, "a=(x # it's\n '{{v}}'\n); show \"${a[@]}\"", "<x><V>"),
        (BASH, "declare -a a=({{v}}); a+=(\"{{w}}\"); show \"${a[@]}\"", "<V><V>"),
        (BASH, "declare -A m=([k]={{v}}); show \"${m[k]}\"", "<V>"),
        (BASH, "declare m; m={{v}}; show \"$m\"", "<V>"),
        (BASH, "cat <(printf '%s.' {{v}})", "V."),
        (BASH, "show $'it\\'s' {{v}} $'a'{{w}}", "<it's><V><aV>"),
        (BASH, "shopt -s extglob\nshow {{v}} @(a|b\")\")", "<V><@(a|b))>"),
        (BASH, "time show {{v}} 2>/dev/null", "<V>"),
        (BASH, "for ((i=0; i<1; i++)); do show {{v}}; done", "<V>"),
        (BASH, "function f { show {{v}}; }; f", "<V>"),
        (BASH, "((1 < 2)) && show {{v}}", "<V>"),
        (BASH, "show $[1+1] {{v}}", "<2><V>"),
        (BASH, "a[1]={{v}}; show \"${a[1]}\"", "<V>"),
        (BASH, "{ show {{v}}; } &> out; cat out; rm out", "<V>"),
    ];
    for (languages, text, expected) in table {
        arrives(languages, text, expected, NASTY);
    }
}

#[test]
fn numbers_arrive_in_arithmetic() {
    let numbers = &["0", "7", "-3", "123456789"];
    arrives(BOTH, "echo $(({{v}}))", "V\n", numbers);
    arrives(BOTH, "echo \"$(( {{v}} + 0 ))\"", "V\n", numbers);
    arrives(BASH, "(( x = {{v}} )) || true; echo $x", "V\n", numbers);
    arrives(BASH, "let 'x = {{v}}' || true; echo $x", "V\n", numbers);
    arrives(BASH, "let x={{v}} || true; echo $x", "V\n", numbers);
    arrives(BASH, "declare -i x={{v}}; echo $x", "V\n", numbers);
    arrives(BASH, "[[ {{v}} -eq '0' || 1 -eq 1 ]] && echo yes", "yes\n", numbers);
    for (index, letter) in [("0", "x"), ("1", "y")] {
        arrives(BASH, "a=(x y z); echo ${a[{{v}}]}", &format!("{letter}\n"), &[index]);
        arrives(BASH, "a[{{v}}]=q; echo ${#a[@]}", "1\n", &[index]);
        arrives(BASH, "a=(x y); [[ -v a[{{v}}] ]] && echo yes", "yes\n", &[index]);
        arrives(BASH, "s=xyz; echo ${s:{{v}}:1}", &format!("{letter}\n"), &[index]);
    }
}

/// Renders `text` with lists of two elements, or with `none`, for each hole, and runs it.
fn lists(languages: &[Shell], text: &str, value: Value, expected: &str) {
    for &language in languages {
        let script = literal(&format!("{SHOW}{text}"));
        let analysis = analyse(language, &script);
        assert_eq!(diagnostics(&script, &analysis), []);
        if value == Value::Words(2) {
            let takes: Vec<_> = analysis.holes.iter().map(|context| &context.takes).collect();
            assert!(takes.iter().all(|takes| **takes == Takes::Words), "{text}: {takes:?}");
        }
        let rendered = render(&script, &analysis, &vec![value; analysis.holes.len()]);
        let env: Vec<_> = (0..analysis.holes.len())
            .flat_map(|hole| {
                let names = [None, Some(0), Some(1)].map(|element| variable(hole, element));
                names.into_iter().zip(["", "a *", "'b\n"])
            })
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        assert_eq!(run(language, &rendered, &env).0, expected, "{language:?}: {rendered}");
    }
}

#[test]
fn a_list_becomes_words_and_none_becomes_no_word() {
    let (two, none, zero) = (Value::Words(2), Value::Nothing, Value::Words(0));
    lists(BOTH, "show {{l}}", two, "<a *><'b\n>");
    lists(BOTH, "show x {{l}} y", two, "<x><a *><'b\n><y>");
    lists(BOTH, "show x {{l}}|cat", two, "<x><a *><'b\n>");
    lists(BOTH, "for f in {{l}}; do show \"$f\"; done", two, "<a *><'b\n>");
    lists(BOTH, "show \"$(show {{l}})\"", two, "<<a *><'b\n>>");
    lists(BOTH, "set -- {{l}}; show \"$@\" # {{l}}", two, "<a *><'b\n>");
    lists(BOTH, "show a >out {{l}}; cat out", two, "<a><a *><'b\n>");
    lists(BASH, "a=({{l}}\n c {{l}}); show \"${a[@]}\"", two, "<a *><'b\n><c><a *><'b\n>");
    lists(BOTH, "show x {{l}} y", zero, "<x><y>");
    lists(BOTH, "show x {{l}} y", none, "<x><y>");
    lists(BOTH, "for f in {{l}}; do show \"$f\"; done", none, "");
    lists(BOTH, "show x \"{{l}}\" '{{l}}' a{{l}}b", none, "<x><><><ab>");
    lists(BOTH, "a=1; show \"$a{{l}}b\"", none, "<1b>");
    lists(BOTH, "x={{l}}; show \"$x\"", none, "<>");
    lists(BOTH, "case {{l}} in '') show empty; esac", none, "<empty>");
    lists(BOTH, "cat <<E\n{{l}}\nE", none, "\n");
    lists(BASH, "[[ {{l}} == '' ]] && show empty", none, "<empty>");
}

#[test]
fn a_list_fits_only_as_a_bare_word_among_words() {
    let script = "show \"{{a}}\" '{{b}}' x{{c}} {{d}}y {{e}}{{f}} --x={{g}} > {{h}} ''{{i}}\n\
        x={{j}} cmd; case {{k}} in {{l}}) ;; esac; echo ${x:-{{m}}}; cat <<E\n{{n}}\nE\n";
    for context in analysed(Shell::Bash, script).holes {
        assert_eq!(context.takes, Takes::Word);
    }
}

/// Returns the messages for a script, one a line.
fn refusals(language: Shell, text: &str) -> Vec<String> {
    let script = literal(text);
    let found = diagnostics(&script, &analyse(language, &script));
    found
        .into_iter()
        .map(|diagnostic| {
            assert!(diagnostic.help.is_some(), "{} has no help", diagnostic.message);
            format!("{}: {}", diagnostic.code, diagnostic.message)
        })
        .collect()
}

#[test]
fn a_hole_that_would_run_is_refused() {
    let table: &[(&[Shell], &str, &str)] = &[
        (BOTH, "eval {{v}}", "inside `eval`"),
        (BOTH, "eval \"a {{v}}\"", "inside `eval`"),
        (BOTH, "command eval 'a {{v}}'", "inside `eval`"),
        (BOTH, "x=1 eval a={{v}}", "inside `eval`"),
        (BOTH, "if true; then eval {{v}}; fi", "inside `eval`"),
        (BOTH, "echo \"$(eval {{v}})\"", "inside `eval`"),
        (BOTH, "trap 'rm {{v}}' EXIT", "inside `trap`"),
        (BOTH, "alias a={{v}}", "inside `alias`"),
        (BOTH, "sh -c 'echo {{v}}'", "inside `sh -c '…'`"),
        (BOTH, "sh -c \"echo {{v}}\"", "inside `sh -c '…'`"),
        (BOTH, "/bin/bash -euo pipefail -c {{v}}", "inside `bash -c '…'`"),
        (BOTH, "bash -o pipefail -ec {{v}}", "inside `bash -c '…'`"),
        (BOTH, "bash -c -e -- {{v}}", "inside `bash -c '…'`"),
        (BOTH, "docker run --rm alpine sh -c \"{{v}}\"", "inside `sh -c '…'`"),
        (BOTH, "find . -exec sh -c '{{v}} \"$1\"' sh {} \\;", "inside `sh -c '…'`"),
        (BOTH, "su -c 'x {{v}}' me", "inside `su -c '…'`"),
        (BOTH, "sudo -u me bash -c 'x {{v}}'", "inside `bash -c '…'`"),
        (BOTH, "python3 -c 'print({{v}})'", "inside `python3 -c '…'`"),
        (BOTH, "perl -pe \"s/a/{{v}}/\" f", "inside `perl -e '…'`"),
        (BOTH, "node --eval 'f({{v}})'", "inside `node --eval '…'`"),
        (BOTH, "awk -F: \"/{{v}}/ { print }\" f", "a program of `awk`"),
        (BOTH, "ssh host ls {{v}}", "a command of `ssh`"),
        (BOTH, "ssh -p 22 host \"ls '{{v}}'\"", "a command of `ssh`"),
        (BOTH, "bash <<EOF\necho {{v}}\nEOF", "text that `bash` reads"),
        (BOTH, "ssh host 'sh -s' <<EOF\necho {{v}}\nEOF", "text that `ssh` reads"),
        (BOTH, "cat <<EOF | sh\necho {{v}}\nEOF", "text that `sh` reads"),
        (BOTH, "echo {{v}} | sh -s", "text that `sh` reads"),
        (BOTH, "python3 - <<EOF\nprint({{v}})\nEOF", "text that `python3` reads"),
        (BOTH, "cat <<'EOF'\n{{v}}\nEOF", "heredoc `'EOF'`"),
        (BOTH, "cat <<\\EOF\n{{v}}\nEOF", "heredoc `'EOF'`"),
        (BOTH, "cat <<{{v}}\nx\n{{w}}", "the delimiter of a heredoc"),
        (BOTH, "echo $'a{{v}}'", "inside `$'…'`"),
        (BOTH, "echo `echo {{v}}`", "inside backticks"),
        (BOTH, "echo \"`echo {{v}}`\"", "inside backticks"),
        (BOTH, "{{v}}=1", "the name of a variable"),
        (BOTH, "a{{v}}=1", "the name of a variable"),
        (BOTH, "export {{v}}", "the name of a variable"),
        (BOTH, "export {{v}}=1", "the name of a variable"),
        (BOTH, "read -r {{v}} <f", "the name of a variable"),
        (BOTH, "unset {{v}}", "the name of a variable"),
        (BOTH, "for {{v}} in a; do :; done", "the name of a variable"),
        (BOTH, "getopts ab {{v}}", "the name of a variable"),
        (BOTH, "{{v}}() { :; }", "the name of a function"),
        (BOTH, "echo \"${x:-\"{{v}}\"}\"", "a part of `${…}`"),
        (BASH, "echo \"${x:-'{{v}}'}\"", "a part of `${…}`"),
        (BOTH, "echo ${x/a/{{v}}}", "a part of `${…}`"),
        (BOTH, "echo ${!{{v}}}", "the name of a variable"),
        (BOTH, "echo \\{{v}}", "the backslash before"),
        (BOTH, "echo \"\\{{v}}\"", "the backslash before"),
        (BOTH, "echo $((echo {{v}}) | cat)", "ends like commands"),
        (BOTH, "((echo {{v}}) | cat)", "ends like commands"),
        (BOTH, "source <(sh <<< {{v}})", "text that `sh` reads"),
        (BOTH, "printf -v {{v}} x", "the name of a variable"),
        (BOTH, "mapfile -t {{v}}", "the name of a variable"),
        (BOTH, "declare -n r={{v}}", "the name of a variable"),
    ];
    for (languages, text, part) in table {
        for &language in *languages {
            let found = refusals(language, text);
            assert!(!found.is_empty(), "{language:?} takes {text}");
            assert!(found.iter().all(|message| message.contains(part)), "{text}: {found:?}");
            assert!(found[0].starts_with("K0701: `{{v}}`") || found[0].contains("before `{{v}}`"));
        }
    }
}

#[test]
fn a_hole_beside_code_is_not_refused() {
    let table = [
        "sh -c 'echo \"$1\"' sh {{v}}",
        "sh {{v}} -c x",
        "sh -e {{v}}",
        "eval \"$(tool {{v}})\"",
        "trap cleanup {{v}}",
        "ssh -p {{v}} -i {{w}} me@{{h}} uptime",
        "ssh me@{{v}} <<'EOF'\nuptime\nEOF",
        "bash script.sh <<EOF\n{{v}}\nEOF",
        "sh -c 'cat' <<EOF\n{{v}}\nEOF",
        "ssh host cat <<EOF\n{{v}}\nEOF",
        "echo {{v}} | cat; sh",
        "python3 -c 'import sys' {{v}}",
        "python3 -m {{v}}",
        "awk -v x={{v}} '{ print x }' {{f}}",
        "awk -f {{v}} x",
        "apt-get install bash {{v}}",
        "git commit -m {{v}}",
        "cat <<EOF\n$(cat <<'X'\nx\nX\n) {{v}}\nEOF",
        "cat {{v}} <<EOF\n`echo x`\nEOF",
        "read -r x < {{v}}",
        "read -p {{v}} x",
        "export X={{v}} Y=a{{w}}",
        "{{v}} {{w}}=1",
        "echo {{v}}=1",
        "echo ${x}{{v}}",
        "echo \"$x{{v}}\" $$ $? {{v}}",
    ];
    for text in table {
        for &language in BOTH {
            assert_eq!(refusals(language, text), [""; 0], "{language:?}: {text}");
        }
    }
}

#[test]
fn evaluated_places_take_only_int() {
    let table: &[(&[Shell], &str)] = &[
        (BOTH, "echo $(({{v}}))"),
        (BOTH, "cat <<E\n$((1+{{v}}))\nE"),
        (BOTH, "echo $((${x:-{{v}}}))"),
        (BOTH, "(({{v}}))"),
        (BOTH, "for ((i={{v}};;)); do :; done"),
        (BOTH, "echo $[{{v}}] ${a[{{v}}]} ${s:{{v}}:{{v}}} \"${a[{{v}}]}\""),
        (BOTH, "a[{{v}}]=1; a=([{{v}}]=x); declare a[{{v}}]=x; unset 'a[{{v}}]'"),
        (BOTH, "[[ {{v}} -eq 1 && 1 -lt {{v}} && -v {{v}} && -v a[{{v}}] ]]"),
        (BOTH, "test -v {{v}}; [ -v a[{{v}}] ]; let x={{v}} \"y={{v}}\""),
        (BOTH, "declare -i x={{v}}; x={{v}}; x+={{v}}"),
    ];
    for (languages, text) in table {
        for &language in *languages {
            for context in analysed(language, text).holes {
                assert_eq!(context.takes, Takes::Int, "{language:?}: {text}");
            }
        }
    }
}

#[test]
fn literal_words_are_listed_with_role_and_place() {
    let text = "cd web && A='x y' npm \"run\" b/*.js >log 2>&1 <in $x {{y}}z $(cat f) a\\ b";
    let words: Vec<_> = analysed(Shell::Sh, text)
        .words
        .into_iter()
        .map(|word| (word.value, &text[word.span.range()], word.role, word.command))
        .collect();
    let expected = [
        ("cd", "cd", Role::Command, 0),
        ("web", "web", Role::Argument, 0),
        ("x y", "'x y'", Role::Assignment, 1),
        ("npm", "npm", Role::Command, 1),
        ("run", "\"run\"", Role::Argument, 1),
        ("b/*.js", "b/*.js", Role::Argument, 1),
        ("log", "log", Role::Output, 1),
        ("in", "in", Role::Input, 1),
        ("cat", "cat", Role::Command, 2),
        ("f", "f", Role::Argument, 2),
        ("a b", "a\\ b", Role::Argument, 1),
    ];
    let expected =
        expected.map(|(value, place, role, command)| (value.to_owned(), place, role, command));
    assert_eq!(words, expected);
}

#[test]
fn variables_and_what_sets_them_are_listed() {
    let text = "a=1; b+=2 c[0]=x; for d in $u; do :; done; read -r e f; export g h=$v; local i\n\
        getopts x j; printf -v k x; mapfile -t l; : ${m:=1} \"${w:-}\" $1 $? ${#x} '$no' \\$no\n\
        (( n = 1, o++ )); declare -i p; select q in a; do :; done; exec {r}>f; [ \"$((s += y_$y))\" ]";
    let script = analysed(Shell::Bash, text);
    let uses: Vec<_> = script
        .variables
        .iter()
        .map(|variable| (&text[variable.span.range()], variable.has_default))
        .collect();
    let expected = [
        ("$u", false),
        ("$v", false),
        ("${m", true),
        ("${w", true),
        ("${#x}", false),
        ("$y", false),
    ];
    assert_eq!(uses, expected);
    let mut sets = script.sets.clone();
    sets.sort();
    sets.dedup();
    let expected: Vec<_> =
        "OPTARG OPTIND a b c d e f g h i j k l m n o p q r s".split(' ').collect();
    assert_eq!(sets, expected);
    assert!(!script.sets_unknown);
    assert!(analysed(Shell::Sh, ". ./env.sh; echo $x").sets_unknown);
}

#[test]
fn what_is_never_closed_is_reported_where_it_opens() {
    for (text, closer) in [
        ("echo 'it is", "'"),
        ("echo \"it is", "\""),
        ("echo $(date", ")"),
        ("echo `date", "`"),
        ("echo ${x", "}"),
        ("echo $((1", "))"),
    ] {
        let script = analysed(Shell::Sh, text);
        assert_eq!(script.unclosed.len(), 1, "{text}");
        assert_eq!(script.unclosed[0].closer, closer);
        assert_eq!(script.unclosed[0].span.start, 5);
    }
    assert_eq!(analysed(Shell::Sh, "cat <<EOF\nit's").unclosed, []);
}

#[test]
fn a_heredoc_without_its_end_is_found() {
    for text in ["cat <<EOF", "cat <<EOF\n", "cat <<EOF\nx\n EOF\n", "cat <<'EOF'\n$(\n"] {
        let endless = analysed(Shell::Sh, text).endless;
        assert_eq!(endless.len(), 1, "{text}");
        assert_eq!((&*endless[0].delimiter, endless[0].span.start), ("EOF", 4));
    }
    for text in
        ["cat <<EOF\nEOF", "cat <<-EOF\n\tx\n\tEOF\n", "cat <<A <<B\nA\nB\n", "cat <<$(a b)"]
    {
        assert_eq!(analysed(Shell::Sh, text).endless, [], "{text}");
    }
}

#[test]
fn hostile_scripts_take_linear_time() {
    let units = [
        "$(",
        "\"$(",
        "${x:-",
        "((",
        "(",
        "case x in (",
        "`",
        "\"",
        "'",
        "<<A ",
        "<<A\n",
        "{{a}}",
        "a=(",
        "$((",
        "x[",
        "${x[",
        "cat <<A | sh\n",
        "bash <<A;",
        "bash <<A|",
        "sh ",
        "\\",
        "$",
        "cat <<A\n$(",
        "echo {{a}}|sh|",
        "((a)",
        "$((a)",
        "@(",
        "[[ ",
        "sh -",
        "ssh ",
        "if ",
        "a=",
    ];
    for unit in units {
        let text = unit.repeat((1 << 18) / unit.len());
        for &language in BOTH {
            let script = literal(&text);
            let start = std::time::Instant::now();
            let analysis = analyse(language, &script);
            let took = start.elapsed();
            assert!(took.as_secs() < 4, "{unit} took {took:?}");
            diagnostics(&script, &analysis);
        }
    }
}

#[test]
fn nesting_ends_at_its_limit_with_a_diagnostic() {
    let text = format!("{}{{{{v}}}}", "$(".repeat(500));
    let found = refusals(Shell::Sh, &text);
    assert_eq!(found, ["K0006: this script nests over 128 levels deep"]);
    let text = format!("{}echo {{{{v}}}}{}", "$(".repeat(120), ")".repeat(120));
    assert_eq!(refusals(Shell::Sh, &text), [""; 0]);
}

/// Keeps failures out of the tree; they become rows of the tables above.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Parts of scripts, in any order.
fn soup() -> impl Strategy<Value = String> {
    let parts = [
        "echo ",
        "{{v}}",
        "'",
        "\"",
        "$(",
        ")",
        "`",
        "${x:-",
        "${x#",
        "}",
        "$((",
        "))",
        "<<EOF",
        "\n",
        "EOF\n",
        "<<'EOF'",
        " ",
        ";",
        "|",
        "&&",
        "case ",
        " in ",
        "esac",
        ";;",
        "for ",
        "do ",
        "done",
        "if ",
        "then ",
        "fi",
        "[[ ",
        " ]]",
        "((",
        "a=(",
        "x=",
        "[",
        "]",
        "\\",
        "#",
        "$",
        "eval ",
        "sh -c ",
        "a",
        "é",
        "<(",
        ">",
        "<<<",
        "&",
        "function ",
        "()",
        "{ ",
        "declare -i ",
        "$'",
        "!",
    ];
    proptest::collection::vec(proptest::sample::select(parts.to_vec()), 0..60)
        .prop_map(|parts| parts.concat())
}

#[test]
fn the_scripts_of_real_pipelines_have_no_findings() {
    use crate::syntax::ast::{ClauseKind, ItemKind, ScriptLanguage};
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/syntax");
    let mut scripts = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let (module, _) = std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().stack_size(parse::PARSE_STACK_BYTES);
            let work = || parse::parse(SourceId(0), &text);
            builder.spawn_scoped(scope, work).unwrap().join().unwrap()
        });
        for item in module.items {
            let ItemKind::Stage(stage) = item.kind else { continue };
            for clause in stage.clauses {
                let ClauseKind::Script { language, script } = clause.kind else { continue };
                let ExprKind::String(script) = script.kind else { continue };
                let ScriptLanguage::Shell(shell) = language else { continue };
                let analysis = analyse(shell, &script);
                assert_eq!(diagnostics(&script, &analysis), [], "{path:?}");
                for word in analysis.words.iter().filter(|word| !word.is_pattern) {
                    let written = &text[word.span.range()];
                    assert!(written.contains(&word.value) || written.contains(['\'', '"', '\\']));
                }
                scripts += 1;
            }
        }
    }
    assert!(scripts > 20);
}

/// A shell word with holes `{{v}}`, and what it is with `V` for their value.
fn word() -> impl Strategy<Value = (String, String)> {
    let leaf = proptest::sample::select(vec![
        ("{{v}}", "V"),
        ("a{{v}}", "aV"),
        ("'{{v}} $x'", "V $x"),
        ("\"{{v}}'\"", "V'"),
        ("\\'{{v}}\\\"", "'V\""),
        ("${none:-{{v}}}", "V"),
        ("\"${none-'#'{{v}}}\"", "'#'V"),
    ]);
    let leaf = leaf.prop_map(|(text, value)| (text.to_owned(), value.to_owned()));
    leaf.prop_recursive(5, 24, 3, |inner| {
        let wrap = |form: &'static str, value: &'static str| {
            inner.clone().prop_map(move |(text, inside)| {
                let form = form.replace("END", &format!("E{}", text.len()));
                (form.replace("WORD", &text), value.replace("WORD", &inside))
            })
        };
        prop_oneof![
            wrap("\"$(printf '%s.' WORD)\"", "WORD."),
            wrap("\"$(printf %s. \"$(printf '%s.' WORD)\") )\"", "WORD.. )"),
            wrap("\"$(cat <<END\n'$(printf %s. WORD)\\$\"\nEND\n)\"", "'WORD.$\""),
            wrap("\"$(case a in (b|a) printf %s. WORD ;; esac # it's\n)\"", "WORD."),
            wrap("${none:-\"$(printf '%s.' WORD)\"}", "WORD."),
            wrap("\"${none:-$(printf '%s.' WORD)}\"", "WORD."),
            wrap(
                "\"$((1+(2)))$(cat <<'END'\nit's $(\nEND\nprintf '%s.' WORD)\"",
                "3it's $(\nWORD."
            ),
            (inner.clone(), inner.clone())
                .prop_map(|(first, second)| (first.0 + &second.0, first.1 + &second.1)),
        ]
    })
}

proptest! {
    #![proptest_config(config(64))]
    #[test]
    fn values_arrive_verbatim_however_words_nest((text, expected) in word()) {
        arrives(BOTH, &format!("show {text}"), &format!("<{expected}>"), &["a  '\"$(touch x)\\`;*\n!"]);
    }
}

proptest! {
    #![proptest_config(config(256))]
    #[test]
    fn any_script_has_a_context_for_each_hole(text in soup()) {
        for &language in BOTH {
            let script = literal(&text);
            let analysis = analyse(language, &script);
            prop_assert_eq!(analysis.holes.len(), text.matches("{{v}}").count());
            diagnostics(&script, &analysis);
            let values = vec![Value::One; analysis.holes.len()];
            let rendered = render(&script, &analysis, &values);
            prop_assert_eq!(rendered.matches("${KILN_").count(), values.len());
            for word in &analysis.words {
                prop_assert!(word.span.len() > 0);
            }
        }
    }
}
