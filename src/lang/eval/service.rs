//! Services: those that a step has, each with its arguments made into a program of the plan, and what
//! they say to the step. Knows clauses and names; does not know when a service is started.

use super::step::{Builder, OwnService, Readiness, Subject};
use super::{Evaluated, Evaluator, Frame, Needs, StepIds, Stop};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::edit;
use crate::lang::ty::ItemRef;
use crate::lang::value::{ServiceValue, Value};
use crate::plan::step::{Network, Service, ServiceUse};
use crate::source::Span;
use crate::syntax::ast::{Clause, ClauseKind, Name};

impl<'p> Evaluator<'p> {
    /// Takes in a clause that says which service a step has.
    pub(super) fn have(
        &mut self,
        subject: &Subject<'p>,
        owner: ItemRef,
        clause: &'p Clause,
        builder: &mut Builder<'p>,
    ) -> Evaluated<()> {
        let ClauseKind::Service { name, value } = &clause.kind else { return Ok(()) };
        let mut frame = self.served_frame(subject, owner, builder)?;
        let found = match value {
            Some(value) => self.expr(value, &mut frame)?,
            None => self.name(&name.text, name.span, &mut frame)?,
        };
        let Value::Service(value) = found else { return Err(Stop) };
        builder.services.push(OwnService { owner, name, value });
        Ok(())
    }

    /// Returns what the clauses of `owner` can see, the services that it has among it.
    pub(super) fn served_frame(
        &mut self,
        subject: &Subject<'p>,
        owner: ItemRef,
        builder: &Builder<'p>,
    ) -> Evaluated<Frame<'p>> {
        let mut frame = self.frame_of(subject, owner)?;
        let own = builder.services.iter().filter(|service| service.owner == owner);
        let local = |own: &OwnService<'p>| {
            (own.name.text.as_str(), Value::Service(std::sync::Arc::clone(&own.value)))
        };
        frame.locals.extend(own.map(local));
        Ok(frame)
    }

    /// Gives a step its services, and returns which steps those need.
    pub(super) fn serve(&mut self, builder: &mut Builder<'p>, ids: &StepIds) -> Evaluated<Needs> {
        let mut needs = Vec::new();
        if builder.services.is_empty() {
            return Ok(needs);
        }
        self.own_network(builder)?;
        let mut ports: Vec<(u16, &'p Name)> = Vec::new();
        for own in &builder.services {
            let (service, own_needs) = self.service(&own.value, ids)?;
            if let Some(port) = service.port {
                if let Some((_, other)) = ports.iter().find(|(taken, _)| *taken == port) {
                    return self.port_taken(port, own.name, other);
                }
                ports.push((port, own.name));
            }
            needs.extend(own_needs);
            let text = serde_json::to_string(&service).expect("it is plain data");
            let place = self.services.insert_full(text, service).0;
            let service = u32::try_from(place).expect("no more than there are steps");
            builder.step.services.push(ServiceUse { name: own.name.text.clone(), service });
        }
        Ok(needs)
    }

    /// Gives a step with services the network that it shares with them.
    fn own_network(&mut self, builder: &mut Builder<'p>) -> Evaluated<()> {
        let network = std::mem::replace(&mut builder.step.network, Network::Loopback);
        let Some(span) = builder.network.filter(|_| network != Network::Loopback) else {
            return Ok(());
        };
        let message = "a step with services has a network of its own, which they share";
        let help = match network {
            Network::Full => {
                "fetch what it needs in a stage without services, and mention its outs here"
            }
            Network::None | Network::Loopback => "delete the line",
        };
        let problem = Diagnostic::error(Code::BAD_SERVICE, span, message).help(help);
        let clauses = self.stage_around(span).into_iter().flat_map(|stage| &stage.clauses);
        let line = clauses.map(|clause| clause.span).find(|clause| clause.end == span.end);
        let text = &self.program.sources.get(span.source).text;
        let lines = line.and_then(|line| edit::lines_of(text, line));
        self.fail(match lines.filter(|_| network != Network::Full) {
            Some(lines) => problem.edit(lines, ""),
            None => problem,
        })
    }

    fn port_taken<T>(&mut self, port: u16, name: &Name, other: &Name) -> Evaluated<T> {
        let message = format!(
            "`{}` and `{}` both listen on port {port}, and the services of a step share its network",
            other.text, name.text
        );
        let problem = Diagnostic::error(Code::BAD_SERVICE, name.span, message)
            .also(other.span, "the other one")
            .help("give one of them another port");
        self.fail(problem)
    }

    /// Returns a service for the plan, and which steps it needs.
    fn service(&mut self, value: &ServiceValue, ids: &StepIds) -> Evaluated<(Service, Needs)> {
        let subject = self.subject(value);
        let builder = self.blank(value.item, value.home);
        let (program, readiness, needs) = self.assemble(&subject, builder, ids)?;
        let Readiness { port, ready, within_millis } = readiness;
        Ok((Service { program, port, ready, within_millis }, needs))
    }

    fn subject(&self, service: &ServiceValue) -> Subject<'p> {
        let parameters = self.stage(service.item).parameters.as_deref().unwrap_or_default();
        let names = parameters.iter().map(|parameter| parameter.name.text.as_str());
        let locals = names.zip(service.arguments.iter().cloned()).collect();
        Subject { item: service.item, home: service.home, locals }
    }

    /// Returns what a service says under that name.
    pub(super) fn said_by(&mut self, service: &ServiceValue, name: &Name) -> Evaluated<Value> {
        let subject = self.subject(service);
        let out = self.out_of(service.item, &name.text);
        let Some((_, Some((owner, value)))) = out else { return Err(Stop) };
        self.deeper(value.span, |evaluator| {
            let mut frame = evaluator.frame_of(&subject, owner)?;
            let found = evaluator.expr(value, &mut frame)?;
            evaluator.no_path(found, value.span)
        })
    }

    /// Reports a path, which would be one of the service's own working tree.
    fn no_path(&mut self, found: Value, span: Span) -> Evaluated<Value> {
        if !matches!(found, Value::Text(_)) {
            return Ok(found);
        }
        let message = "a service and its stage have no files in common";
        let help = "have the service send it over the network, or give it to both: in files(\"…\")";
        self.fail(Diagnostic::error(Code::BAD_SERVICE, span, message).help(help))
    }
}
