//! What a CI says of the run that it started, in the variables that it sets. Knows each CI's words;
//! does not know the repository.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The variable that says whether a run is trusted, for a CI that does not.
const TRUSTED: &str = "KILN_TRUSTED";

/// What a CI says of the run that it started.
pub(super) struct Ci {
    pub(super) name: &'static str,
    pub(super) event: Option<String>,
    /// The number of the pull or merge request.
    pub(super) pr: Option<i64>,
    pub(super) run: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) tag: Option<String>,
    /// Whether the commit comes from someone who may write to the repository.
    pub(super) is_trusted: bool,
}

/// The variables that a CI sets.
struct Variables<'a>(&'a BTreeMap<String, OsString>);

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let text = self.0.get(name)?.to_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.get(name).as_deref() == Some(value)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    fn first<const N: usize>(&self, names: [&str; N]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }
}

impl Ci {
    /// Whether what it runs comes from a fork, or may.
    pub(super) fn is_foreign(&self) -> bool {
        self.pr.is_some() && !self.is_trusted
    }

    /// Returns what the CI says, if one started this run.
    pub(super) fn find(environment: &BTreeMap<String, OsString>) -> Option<Self> {
        let variables = Variables(environment);
        let known: [fn(&Variables<'_>) -> Option<Self>; 9] = [
            Self::github,
            Self::gitlab,
            Self::circle,
            Self::buildkite,
            Self::azure,
            Self::bitbucket,
            Self::woodpecker,
            Self::jenkins,
            Self::unknown,
        ];
        let mut ci = known.iter().find_map(|read| read(&variables))?;
        match variables.get(TRUSTED).as_deref() {
            Some("true" | "1") => ci.is_trusted = true,
            Some("false" | "0") => ci.is_trusted = false,
            _ => {}
        }
        Some(ci)
    }

    /// GitHub Actions, and the CI of Gitea and Forgejo, which speaks its language.
    /// <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>
    fn github(of: &Variables<'_>) -> Option<Self> {
        of.get("GITHUB_ACTIONS")?;
        let event = of.get("GITHUB_EVENT_NAME");
        let of_type = |kind| of.get("GITHUB_REF_NAME").filter(|_| of.is("GITHUB_REF_TYPE", kind));
        let number = of
            .get("GITHUB_REF")
            .and_then(|name| name.strip_prefix("refs/pull/")?.split('/').next()?.parse().ok());
        let is_request = event.as_deref().is_some_and(|event| event.starts_with("pull_request"));
        let is_trusted = !is_request || {
            let own = of.get("GITHUB_REPOSITORY");
            own.is_some() && own == of.get("GITHUB_EVENT_PATH").and_then(|path| head_of(&path))
        };
        Some(Self {
            name: if of.get("GITEA_ACTIONS").is_some() { "gitea" } else { "github" },
            event,
            pr: number,
            run: of.get("GITHUB_RUN_ID"),
            branch: of.get("GITHUB_HEAD_REF").or_else(|| of_type("branch")),
            tag: of_type("tag"),
            is_trusted,
        })
    }

    /// <https://docs.gitlab.com/ci/variables/predefined_variables/>
    fn gitlab(of: &Variables<'_>) -> Option<Self> {
        of.get("GITLAB_CI")?;
        let source = of.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID");
        Some(Self {
            name: "gitlab",
            event: of.get("CI_PIPELINE_SOURCE"),
            pr: of.number("CI_MERGE_REQUEST_IID"),
            run: of.get("CI_PIPELINE_ID"),
            branch: of.first(["CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH"]),
            tag: of.get("CI_COMMIT_TAG"),
            is_trusted: source.is_none() || source == of.get("CI_PROJECT_ID"),
        })
    }

    /// <https://circleci.com/docs/reference/variables/>
    fn circle(of: &Variables<'_>) -> Option<Self> {
        of.get("CIRCLECI")?;
        let request = of.get("CIRCLE_PULL_REQUEST");
        Some(Self {
            name: "circleci",
            event: None,
            pr: request.and_then(|url| url.rsplit('/').next()?.parse().ok()),
            run: of.first(["CIRCLE_WORKFLOW_ID", "CIRCLE_BUILD_NUM"]),
            branch: of.get("CIRCLE_BRANCH"),
            tag: of.get("CIRCLE_TAG"),
            // Only requests from forks have it.
            is_trusted: of.get("CIRCLE_PR_NUMBER").is_none(),
        })
    }

    /// <https://buildkite.com/docs/pipelines/configure/environment-variables>
    fn buildkite(of: &Variables<'_>) -> Option<Self> {
        of.get("BUILDKITE")?;
        let from = of.get("BUILDKITE_PULL_REQUEST_REPO");
        Some(Self {
            name: "buildkite",
            event: of.get("BUILDKITE_SOURCE"),
            pr: of.number("BUILDKITE_PULL_REQUEST"),
            run: of.get("BUILDKITE_BUILD_ID"),
            branch: of.get("BUILDKITE_BRANCH"),
            tag: of.get("BUILDKITE_TAG"),
            is_trusted: from.is_none() || from == of.get("BUILDKITE_REPO"),
        })
    }

    /// <https://learn.microsoft.com/en-us/azure/devops/pipelines/build/variables>
    fn azure(of: &Variables<'_>) -> Option<Self> {
        of.get("TF_BUILD")?;
        let below = |name: &str, start: &str| Some(of.get(name)?.strip_prefix(start)?.to_owned());
        let request = below("SYSTEM_PULLREQUEST_SOURCEBRANCH", "refs/heads/");
        Some(Self {
            name: "azure",
            event: of.get("BUILD_REASON"),
            pr: of
                .number("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER")
                .or_else(|| of.number("SYSTEM_PULLREQUEST_PULLREQUESTID")),
            run: of.get("BUILD_BUILDID"),
            branch: request.or_else(|| below("BUILD_SOURCEBRANCH", "refs/heads/")),
            tag: below("BUILD_SOURCEBRANCH", "refs/tags/"),
            is_trusted: !of.is("SYSTEM_PULLREQUEST_ISFORK", "True"),
        })
    }

    /// <https://support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets/>. It runs nothing
    /// for requests from forks.
    fn bitbucket(of: &Variables<'_>) -> Option<Self> {
        of.get("BITBUCKET_BUILD_NUMBER")?;
        Some(Self {
            name: "bitbucket",
            event: None,
            pr: of.number("BITBUCKET_PR_ID"),
            run: of.first(["BITBUCKET_PIPELINE_UUID", "BITBUCKET_BUILD_NUMBER"]),
            branch: of.get("BITBUCKET_BRANCH"),
            tag: of.get("BITBUCKET_TAG"),
            is_trusted: true,
        })
    }

    /// Woodpecker. <https://woodpecker-ci.org/docs/usage/environment>
    fn woodpecker(of: &Variables<'_>) -> Option<Self> {
        if !of.is("CI", "woodpecker") {
            return None;
        }
        let pr = of.number("CI_COMMIT_PULL_REQUEST");
        Some(Self {
            name: "woodpecker",
            event: of.get("CI_PIPELINE_EVENT"),
            pr,
            run: of.get("CI_PIPELINE_NUMBER"),
            branch: of.first(["CI_COMMIT_SOURCE_BRANCH", "CI_COMMIT_BRANCH"]),
            tag: of.get("CI_COMMIT_TAG"),
            // It does not say whether a request comes from a fork.
            is_trusted: pr.is_none(),
        })
    }

    /// Jenkins, with its multibranch pipelines.
    /// <https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables>
    fn jenkins(of: &Variables<'_>) -> Option<Self> {
        of.get("JENKINS_URL")?;
        Some(Self {
            name: "jenkins",
            event: None,
            pr: of.number("CHANGE_ID"),
            run: of.first(["BUILD_TAG", "BUILD_ID"]),
            branch: of
                .first(["CHANGE_BRANCH", "BRANCH_NAME"])
                .map(|branch| branch.strip_prefix("origin/").map_or(branch.clone(), str::to_owned)),
            tag: of.get("TAG_NAME"),
            is_trusted: of.get("CHANGE_FORK").is_none(),
        })
    }

    /// One that says only that it is one.
    fn unknown(of: &Variables<'_>) -> Option<Self> {
        let ci = of.get("CI")?;
        (ci != "false" && ci != "0").then_some(Self {
            name: "unknown",
            event: None,
            pr: None,
            run: None,
            branch: None,
            tag: None,
            is_trusted: false,
        })
    }
}

/// Returns the repository that the commit of a pull request is from, as the event's file has it.
fn head_of(path: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let name = event.pointer("/pull_request/head/repo/full_name")?;
    name.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ci(variables: &[(&str, &str)]) -> Option<Ci> {
        let own = variables.iter().map(|(name, value)| ((*name).to_owned(), value.into()));
        Ci::find(&own.collect())
    }

    /// What a CI says, on one line.
    fn line(variables: &[(&str, &str)]) -> String {
        let Some(ci) = ci(variables) else { return "none".to_owned() };
        let text = |text: Option<String>| text.unwrap_or("-".to_owned());
        let pr = ci.pr.map(|pr| pr.to_string());
        let trusted = if ci.is_trusted { "trusted" } else { "untrusted" };
        let rest = [ci.event, pr, ci.run, ci.branch, ci.tag].map(text);
        format!("{} {} {trusted}", ci.name, rest.join(" "))
    }

    #[test]
    fn each_ci_is_known_by_its_variables() {
        for (variables, expected) in [
            (&[][..], "none"),
            (&[("CI", "false")], "none"),
            (&[("CI", "true")], "unknown - - - - - untrusted"),
            (&[("CI", "1"), ("KILN_TRUSTED", "1")], "unknown - - - - - trusted"),
            (
                &[
                    ("CI", "true"),
                    ("GITHUB_ACTIONS", "true"),
                    ("GITHUB_EVENT_NAME", "push"),
                    ("GITHUB_REF", "refs/heads/main"),
                    ("GITHUB_REF_NAME", "main"),
                    ("GITHUB_REF_TYPE", "branch"),
                    ("GITHUB_RUN_ID", "77"),
                ],
                "github push - 77 main - trusted",
            ),
            (
                &[
                    ("GITHUB_ACTIONS", "true"),
                    ("GITEA_ACTIONS", "true"),
                    ("GITHUB_REF_NAME", "v1"),
                    ("GITHUB_REF_TYPE", "tag"),
                ],
                "gitea - - - - v1 trusted",
            ),
            (
                &[
                    ("GITLAB_CI", "true"),
                    ("CI_PIPELINE_SOURCE", "merge_request_event"),
                    ("CI_MERGE_REQUEST_IID", "12"),
                    ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "feature"),
                    ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "5"),
                    ("CI_PROJECT_ID", "4"),
                    ("CI_PIPELINE_ID", "9"),
                ],
                "gitlab merge_request_event 12 9 feature - untrusted",
            ),
            (
                &[
                    ("CIRCLECI", "true"),
                    ("CIRCLE_PULL_REQUEST", "https://github.com/a/b/pull/31"),
                    ("CIRCLE_PR_NUMBER", "31"),
                    ("CIRCLE_BRANCH", "pull/31"),
                    ("CIRCLE_BUILD_NUM", "3"),
                ],
                "circleci - 31 3 pull/31 - untrusted",
            ),
            (
                &[
                    ("BUILDKITE", "true"),
                    ("BUILDKITE_SOURCE", "webhook"),
                    ("BUILDKITE_PULL_REQUEST", "false"),
                    ("BUILDKITE_PULL_REQUEST_REPO", ""),
                    ("BUILDKITE_REPO", "git@example.org:a/b.git"),
                    ("BUILDKITE_BUILD_ID", "u-1"),
                    ("BUILDKITE_BRANCH", "main"),
                ],
                "buildkite webhook - u-1 main - trusted",
            ),
            (
                &[
                    ("TF_BUILD", "True"),
                    ("BUILD_REASON", "PullRequest"),
                    ("SYSTEM_PULLREQUEST_PULLREQUESTID", "8"),
                    ("SYSTEM_PULLREQUEST_SOURCEBRANCH", "refs/heads/fix"),
                    ("SYSTEM_PULLREQUEST_ISFORK", "False"),
                    ("BUILD_BUILDID", "4"),
                ],
                "azure PullRequest 8 4 fix - trusted",
            ),
            (
                &[("BITBUCKET_BUILD_NUMBER", "6"), ("BITBUCKET_TAG", "v2")],
                "bitbucket - - 6 - v2 trusted",
            ),
            (
                &[
                    ("CI", "woodpecker"),
                    ("CI_PIPELINE_EVENT", "pull_request"),
                    ("CI_COMMIT_PULL_REQUEST", "2"),
                    ("CI_COMMIT_SOURCE_BRANCH", "fix"),
                    ("CI_PIPELINE_NUMBER", "14"),
                ],
                "woodpecker pull_request 2 14 fix - untrusted",
            ),
            (
                &[
                    ("JENKINS_URL", "https://ci.example.org"),
                    ("BRANCH_NAME", "origin/main"),
                    ("BUILD_TAG", "jenkins-a-1"),
                ],
                "jenkins - - jenkins-a-1 main - trusted",
            ),
        ] {
            assert_eq!(line(variables), expected);
        }
    }

    #[test]
    fn a_request_on_github_is_trusted_if_it_comes_from_the_repository_itself() {
        let folder = tempfile::tempdir().unwrap();
        let event = folder.path().join("event.json");
        let request = |event: &str| {
            ci(&[
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_EVENT_NAME", "pull_request"),
                ("GITHUB_REF", "refs/pull/5/merge"),
                ("GITHUB_HEAD_REF", "main"),
                ("GITHUB_REPOSITORY", "own/repo"),
                ("GITHUB_EVENT_PATH", event),
            ])
            .unwrap()
        };
        let event = event.to_str().unwrap();
        assert!(request(event).is_foreign(), "there is no file");
        let head =
            |name| format!(r#"{{"pull_request":{{"head":{{"repo":{{"full_name":"{name}"}}}}}}}}"#);
        std::fs::write(event, head("fork/repo")).unwrap();
        assert!(request(event).is_foreign());
        std::fs::write(event, head("own/repo")).unwrap();
        let own = request(event);
        assert!(!own.is_foreign());
        assert_eq!((own.pr, own.branch.as_deref()), (Some(5), Some("main")));
        std::fs::write(event, "[").unwrap();
        assert!(request(event).is_foreign());
    }
}
