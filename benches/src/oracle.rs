//! Cedar beside the rule engine: policies parsed, a question asked, the answer as a verdict.

use std::error::Error;

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};
use godvision_access::RuleSet;
use godvision_access::rule::{CedarRequest, Question};
use godvision_core::signal::door::Verdict;

/// Rules as Cedar holds them.
#[derive(Clone, Debug)]
pub struct Cedar {
    policies: PolicySet,
    entities: Entities,
}

impl Cedar {
    /// Exports `set` and parses the export.
    ///
    /// # Errors
    /// Cedar does not take it.
    pub fn new(set: &RuleSet) -> Result<Self, Box<dyn Error>> {
        let export = set.to_cedar();
        Ok(Self { policies: export.policies.parse()?, entities: Entities::from_json_str(&export.entities, None)? })
    }

    /// Other policies, such as those about one door, among the same entities.
    ///
    /// # Errors
    /// Cedar does not take them.
    pub fn with_policies(&self, set: &RuleSet) -> Result<Self, Box<dyn Error>> {
        Ok(Self { policies: set.to_cedar().policies.parse()?, entities: self.entities.clone() })
    }

    /// What Cedar says, and the rules it says decided.
    ///
    /// # Errors
    /// A policy could not be evaluated.
    pub fn decide(&self, authorizer: &Authorizer, request: &Request) -> Result<(Verdict, Vec<String>), Box<dyn Error>> {
        let response = authorizer.is_authorized(request, &self.policies, &self.entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(error.to_string().into());
        }
        let name = |id| self.policies.annotation(id, "id").unwrap_or_default().to_owned();
        let rules = response.diagnostics().reason().map(name).collect();
        Ok((if response.decision() == Decision::Allow { Verdict::Admit } else { Verdict::Refuse }, rules))
    }

    /// The verdict alone.
    pub fn verdict(&self, authorizer: &Authorizer, request: &Request) -> Verdict {
        match authorizer.is_authorized(request, &self.policies, &self.entities).decision() {
            Decision::Allow => Verdict::Admit,
            Decision::Deny => Verdict::Refuse,
        }
    }
}

/// `question` as Cedar takes it.
///
/// # Errors
/// No clock shows its moment, or Cedar does not take it.
pub fn request(set: &RuleSet, question: &Question<'_>) -> Result<Request, Box<dyn Error>> {
    let CedarRequest { principal, action, resource, context } =
        set.cedar_request(question).ok_or("no clock shows this moment")?;
    let uid = |text: String| text.parse::<EntityUid>().map_err(Box::<dyn Error>::from);
    let context = Context::from_json_str(&context, None)?;
    Ok(Request::new(uid(principal)?, uid(action)?, uid(resource)?, context, None)?)
}
