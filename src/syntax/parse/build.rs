//! Turns what the grammar matched into items, stages, clauses and types. Knows the rules; does not
//! know expressions, which are next door.

use pest::iterators::Pairs;

use super::{Pair, Rule};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{SourceId, Span};
use crate::syntax::ast::{
    Axis, Clause, ClauseKind, DataFile, Dialect, Expr, Function, ItemKind, Let, Name, Param,
    Parameter, ScriptLanguage, Secret, SecretUse, Shell, Stage, StageKind, TypeExpr, TypeKind, Use,
};

/// Builds trees from the pairs of one parsed slice.
pub(super) struct Builder<'a> {
    pub(super) source: SourceId,
    /// The whole file, as its author wrote it.
    pub(super) text: &'a str,
    /// Where the slice begins in the file.
    pub(super) offset: usize,
    /// What the grammar allows and the language does not.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// The data files that expressions name.
    pub(super) data: Vec<DataFile>,
    /// How many expressions stand around the one being built.
    pub(super) height: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(source: SourceId, text: &'a str, offset: usize) -> Self {
        Self { source, text, offset, diagnostics: Vec::new(), data: Vec::new(), height: 0 }
    }

    /// Where a pair stands, without the blanks behind it: pest skips them before it looks for a part that
    /// may be missing.
    pub(super) fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let start = pair.as_span().start() + self.offset;
        let text = pair.as_str().trim_end_matches([' ', '\t', '\r', '\n']);
        Span::new(self.source, start, start + text.len())
    }

    /// Where a piece of a string stands, blanks and all.
    pub(super) fn exact_span(&self, pair: &Pair<'_, Rule>) -> Span {
        let span = pair.as_span();
        Span::new(self.source, span.start() + self.offset, span.end() + self.offset)
    }

    /// The bytes that a span covers in the file.
    pub(super) fn written(&self, span: Span) -> &'a str {
        &self.text[span.range()]
    }

    pub(super) fn report(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        help: &str,
    ) {
        self.diagnostics.push(Diagnostic::error(code, span, message).help(help));
    }

    pub(super) fn name(&self, pair: &Pair<'_, Rule>) -> Name {
        Name { text: pair.as_str().to_owned(), span: self.span(pair) }
    }

    /// Builds from `item`.
    pub(super) fn item(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = pair.into_inner().filter(|part| !is_keyword(part.as_rule()));
        let part = parts.next().expect("an item is one of its kinds");
        match part.as_rule() {
            Rule::use_item => self.use_item(part),
            Rule::param_item => ItemKind::Param(self.param(part)),
            Rule::secret_item => {
                let names = part.into_inner().filter(|part| part.as_rule() == Rule::name);
                let mut names = names.map(|name| self.name(&name));
                let name = names.next().expect("a secret has a name");
                ItemKind::Secret(Secret { name, marks: names.collect() })
            }
            Rule::let_item => self.let_item(part),
            Rule::fn_item => self.function(part),
            Rule::spec_item => self.spec(part).map_or(ItemKind::Broken(None), ItemKind::Spec),
            _ => ItemKind::Stage(self.stage(part)),
        }
    }

    fn use_item(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = pair.into_inner().filter(|part| !is_keyword(part.as_rule()));
        let target = parts.next().expect("a `use` has a target");
        let alias = parts.next().map(|alias| self.name(&alias));
        if target.as_rule() == Rule::module {
            let span = self.span(&target);
            let words: Vec<_> = target.into_inner().map(|word| word.as_str()).collect();
            let path = Name { text: words.join("."), span };
            return ItemKind::Use(Use { path, is_module: true, alias });
        }
        match self.plain_string(target) {
            Some(path) => ItemKind::Use(Use { path, is_module: false, alias }),
            None => ItemKind::Broken(alias),
        }
    }

    fn param(&mut self, pair: Pair<'_, Rule>) -> Param {
        let Parameter { name, ty, default } = self.parameter(pair);
        Param { name, ty, default }
    }

    fn let_item(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let end = Span::at(self.source, self.span(&pair).end as usize);
        let mut name = None;
        let mut ty = None;
        let mut value = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.name(&part)),
                Rule::r#type => ty = Some(self.type_expr(part)),
                Rule::expression => value = Some(self.expression(part)),
                _ => {}
            }
        }
        let name = name.expect("a `let` has a name");
        ItemKind::Let(Let { name, ty, value: value.unwrap_or_else(|| broken(end)) })
    }

    fn function(&mut self, pair: Pair<'_, Rule>) -> ItemKind {
        let mut parts = pair.into_inner().filter(|part| !is_keyword(part.as_rule()));
        let mut next = || parts.next().expect("the rule has four parts");
        let name = self.name(&next());
        let parameters = self.parameters(next());
        let result = self.type_expr(next());
        let body = self.expression(next());
        ItemKind::Function(Function { name, parameters, result, body })
    }

    fn parameters(&mut self, pair: Pair<'_, Rule>) -> Vec<Parameter> {
        pair.into_inner().map(|part| self.parameter(part)).collect()
    }

    fn parameter(&mut self, pair: Pair<'_, Rule>) -> Parameter {
        let mut parts = pair.into_inner().filter(|part| !is_keyword(part.as_rule()));
        let name = self.name(&parts.next().expect("a parameter has a name"));
        let ty = self.type_expr(parts.next().expect("a parameter has a type"));
        let default = parts.next().map(|value| self.expression(value));
        Parameter { name, ty, default }
    }

    /// Builds from `stage`.
    fn stage(&mut self, pair: Pair<'_, Rule>) -> Stage {
        let end = self.span(&pair).end as usize;
        let mut parts = pair.into_inner();
        let mut stage = self.stage_head(parts.next().expect("a stage has a head"));
        stage.body = Span::at(self.source, end);
        match parts.next() {
            Some(body) => {
                stage.body = self.span(&body);
                stage.clauses =
                    body.into_inner().filter_map(|clause| self.clause(clause)).collect();
            }
            None if stage.from.is_none() => {
                let message = format!("stage `{}` has no clauses: expected `{{`", stage.name.text);
                let help = "write `{` on this line, the clauses below, and `}` after them";
                self.report(Code::SYNTAX, stage.body, message, help);
            }
            None => {}
        }
        stage
    }

    /// Builds from `stage_head`; the body is empty at the head's end.
    pub(super) fn stage_head(&mut self, pair: Pair<'_, Rule>) -> Stage {
        let span = self.span(&pair);
        let end = Span::at(self.source, span.end as usize);
        let mut stage = Stage {
            kind: StageKind::Build,
            name: Name { text: String::new(), span: end },
            parameters: None,
            axes: Vec::new(),
            except: None,
            max: None,
            condition: None,
            from: None,
            clauses: Vec::new(),
            body: end,
        };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::stage_kind if part.as_str() == "test" => stage.kind = StageKind::Test,
                Rule::stage_kind if part.as_str() == "service" => stage.kind = StageKind::Service,
                Rule::name => stage.name = self.name(&part),
                Rule::parameters => stage.parameters = Some(self.parameters(part)),
                Rule::matrix => self.matrix(part.into_inner(), &mut stage),
                Rule::condition => stage.condition = self.only_expression(part).map(Box::new),
                Rule::template => stage.from = self.only_expression(part),
                _ => {}
            }
        }
        stage
    }

    fn matrix(&mut self, parts: Pairs<'_, Rule>, stage: &mut Stage) {
        for part in parts {
            let span = self.span(&part);
            let (place, word) = match part.as_rule() {
                Rule::axis => {
                    let axis = self.axis(part);
                    stage.axes.push(axis);
                    continue;
                }
                Rule::matrix_except => (&mut stage.except, "except"),
                Rule::matrix_max => (&mut stage.max, "max"),
                _ => continue,
            };
            let is_second = place.is_some();
            *place = self.only_expression(part);
            if is_second {
                let message = format!("`{word}:` is given twice");
                self.report(Code::DUPLICATE, span, message, "keep one of the two");
            }
        }
    }

    pub(super) fn axis(&mut self, pair: Pair<'_, Rule>) -> Axis {
        let mut parts = pair.into_inner().filter(|part| !is_keyword(part.as_rule()));
        let name = self.name(&parts.next().expect("an axis has a name"));
        let mut ty = None;
        let mut values = parts.next().expect("an axis has values");
        if values.as_rule() == Rule::r#type {
            ty = Some(self.type_expr(values));
            values = parts.next().expect("an axis has values");
        }
        Axis { name, ty, values: self.expression(values) }
    }

    /// Builds the one expression among the parts of `pair`.
    pub(super) fn only_expression(&mut self, pair: Pair<'_, Rule>) -> Option<Expr> {
        let found = pair.into_inner().find(|part| part.as_rule() == Rule::expression);
        found.map(|part| self.expression(part))
    }

    /// Builds from `clause`; reports a key of another tool, which no stage has.
    pub(super) fn clause(&mut self, pair: Pair<'_, Rule>) -> Option<Clause> {
        let span = self.span(&pair);
        let inner = pair.into_inner().next().expect("a clause is one of its kinds");
        let rule = inner.as_rule();
        let mut parts = inner.into_inner().filter(|part| !is_keyword(part.as_rule()));
        let mut next = || parts.next();
        let kind = match rule {
            Rule::in_clause => {
                let value = self.expected(next(), span);
                ClauseKind::In { value, at: next().map(|at| self.expression(at)) }
            }
            Rule::out_clause => {
                let name = self.name(&next().expect("an out has a name"));
                let ty = self.type_expr(next().expect("an out has a type"));
                ClauseKind::Out { name, ty, path: next().map(|path| self.expression(path)) }
            }
            Rule::env_clause => {
                let name = self.name(&next().expect("a variable has a name"));
                ClauseKind::Env { name, value: self.expected(next(), span) }
            }
            Rule::secret_clause => self.secret_clause(parts),
            Rule::service_clause => {
                let name = self.name(&next().expect("a service has a name"));
                ClauseKind::Service { name, value: next().map(|value| self.expression(value)) }
            }
            Rule::run_clause => self.run_clause(next().expect("a `run` has something to run")),
            _ => {
                let name = self.name(&next().expect("a field has a name"));
                if let Some(finding) = super::habits::key(&name.text, name.span) {
                    self.diagnostics.push(finding);
                    return None;
                }
                ClauseKind::Field { name, value: self.expected(next(), span) }
            }
        };
        Some(Clause { span, kind })
    }

    fn secret_clause<'i>(&mut self, parts: impl Iterator<Item = Pair<'i, Rule>>) -> ClauseKind {
        let (mut uses, mut is_file) = (Vec::new(), false);
        for part in parts {
            if part.as_rule() == Rule::file_word {
                is_file = true;
                continue;
            }
            let mut inner = part.into_inner();
            let name = self.name(&inner.next().expect("a secret has a name"));
            uses.push(SecretUse { name, value: inner.next().map(|value| self.expression(value)) });
        }
        ClauseKind::Secret { uses, is_file }
    }

    fn expected(&mut self, pair: Option<Pair<'_, Rule>>, place: Span) -> Expr {
        pair.map_or_else(|| broken(place), |pair| self.expression(pair))
    }

    fn run_clause(&mut self, pair: Pair<'_, Rule>) -> ClauseKind {
        if pair.as_rule() == Rule::expression {
            return ClauseKind::Argv(self.expression(pair));
        }
        let span = self.span(&pair);
        let mut parts = pair.into_inner();
        let language = match parts.next().map(|language| language.as_str()) {
            Some("bash") => ScriptLanguage::Shell(Shell::Bash),
            Some("python") => ScriptLanguage::Code(Dialect::Python),
            Some("node") => ScriptLanguage::Code(Dialect::JavaScript),
            _ => ScriptLanguage::Shell(Shell::Sh),
        };
        ClauseKind::Script { language, script: self.expected(parts.next(), span) }
    }

    /// Builds from `type`. Types stand in one another as deep as brackets may, and `<` is none for
    /// the scanner, so the depth is checked here.
    pub(super) fn type_expr(&mut self, pair: Pair<'_, Rule>) -> TypeExpr {
        self.type_within(pair, 0)
    }

    fn type_within(&mut self, pair: Pair<'_, Rule>, depth: usize) -> TypeExpr {
        let span = self.span(&pair);
        let mut parts = pair.into_inner();
        let inner = parts.next().expect("a type is one of its kinds");
        let inner_span = self.span(&inner);
        let kind = match inner.as_rule() {
            _ if depth > crate::syntax::scan::MAX_NESTING => {
                let message = format!("types stand in one another more than {depth} deep");
                self.report(Code::NESTED_TOO_DEEPLY, span, message, "use a simpler type");
                TypeKind::Name("string".into())
            }
            Rule::record_type => self.record_type(inner, depth),
            Rule::enum_type => TypeKind::Enum(
                inner.into_inner().filter_map(|text| self.plain_string(text)).collect(),
            ),
            _ => self.named_type(inner, depth),
        };
        match parts.next() {
            None => TypeExpr { span, kind },
            Some(_) => {
                let inner = TypeExpr { span: inner_span, kind };
                TypeExpr { span, kind: TypeKind::Optional(Box::new(inner)) }
            }
        }
    }

    fn record_type(&mut self, pair: Pair<'_, Rule>, depth: usize) -> TypeKind {
        let mut fields = Vec::new();
        for field in pair.into_inner() {
            let mut parts = field.into_inner();
            let name = parts.next().expect("a field has a name");
            let name = match name.as_rule() {
                Rule::word => Some(self.name(&name)),
                _ => self.plain_string(name),
            };
            let ty = parts.next().expect("a field has a type");
            let ty = self.type_within(ty, depth + 1);
            fields.extend(name.map(|name| (name, ty)));
        }
        TypeKind::Record(fields)
    }

    fn named_type(&mut self, pair: Pair<'_, Rule>, depth: usize) -> TypeKind {
        let span = self.span(&pair);
        let mut parts = pair.into_inner();
        let word = parts.next().expect("a type has a name").as_str();
        let plain = TypeKind::Name(word.to_owned());
        let Some(arguments) = parts.next() else {
            if matches!(word, "list" | "map") {
                let full = if word == "list" { "list<string>" } else { "map<string, string>" };
                let message = format!("`{word}` does not say what it holds");
                self.report(Code::SYNTAX, span, message, &format!("write `{full}`"));
            }
            return plain;
        };
        if arguments.as_rule() == Rule::int_range {
            if word != "int" {
                let message = format!("`{word}` takes no range; only `int` does");
                self.report(Code::SYNTAX, span, message, "write `int(1..50)`, or the name alone");
                return plain;
            }
            let mut ends = arguments.into_inner().map(|end| self.signed(end));
            let (low, high) = (ends.next().unwrap_or(0), ends.next().unwrap_or(0));
            return TypeKind::IntRange(low, high);
        }
        let arguments = arguments.into_inner();
        let mut types: Vec<_> = arguments.map(|part| self.type_within(part, depth + 1)).collect();
        match (word, types.len()) {
            ("list", 1) => TypeKind::List(Box::new(types.remove(0))),
            ("map", 2) if matches!(&types[0].kind, TypeKind::Name(key) if key == "string") => {
                TypeKind::Map(Box::new(types.remove(1)))
            }
            _ => {
                let message = format!("`{}` is no type", self.written(span));
                let help = "write `list<T>` or `map<string, T>`; no other type takes types";
                self.report(Code::SYNTAX, span, message, help);
                plain
            }
        }
    }
}

/// An expression that was reported.
pub(super) fn broken(span: Span) -> Expr {
    Expr { span, kind: crate::syntax::ast::ExprKind::Broken }
}

/// Claims that the pair of a rule carries nothing but that its word was there.
pub(super) fn is_keyword(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::pub_word
            | Rule::use_word
            | Rule::as_word
            | Rule::param_word
            | Rule::let_word
            | Rule::fn_word
            | Rule::for_word
            | Rule::in_word
            | Rule::at_word
            | Rule::out_word
            | Rule::env_word
            | Rule::secret_word
            | Rule::service_word
            | Rule::run_word
            | Rule::when_word
            | Rule::if_word
            | Rule::then_word
            | Rule::else_word
            | Rule::except_word
            | Rule::max_word
            | Rule::spec_word
            | Rule::given_word
            | Rule::takes_word
            | Rule::EOI
    )
}
