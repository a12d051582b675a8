//! Which versions of poolpick a manifest is for: looked at before anything else of it, for what a later version knows is no
//! mistake of its writer. Must not read other keys.

use super::file::{Early, PyProject};
use super::is_pyproject;
use super::problem::Problem;
use semver::{Prerelease, Version, VersionReq};
use std::path::Path;

/// This poolpick.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// Whether this version may read the manifest.
///
/// # Errors
/// The requirement that is not met, or that is none.
pub(super) fn allowed(path: &Path, text: &str) -> Result<(), Problem> {
    let early = if is_pyproject(path) {
        toml::from_str::<PyProject<Early>>(text).map(|project| project.tool.poolpick)
    } else {
        toml::from_str::<Early>(text).map(Some)
    };
    // What is no TOML, or no text, is told by whoever reads the whole.
    let Ok(Some(Early { required_version: Some(required) })) = early else { return Ok(()) };
    let (wanted, span) = (required.get_ref().as_str(), required.span());
    let wrong = |message: String, hint: &str| Err(Problem::new(message, span.clone()).with_hint(hint));
    let requirement = match VersionReq::parse(wanted) {
        Ok(requirement) => requirement,
        Err(error) => {
            return wrong(
                format!("`{wanted}` says no versions: {error}"),
                "it is one such as \">=0.1\" or \">=0.1, <0.3\"",
            );
        }
    };
    // A preview of a version knows what that version knows.
    let own = Version::parse(OWN).map(|own| Version { pre: Prerelease::EMPTY, ..own });
    match own {
        Ok(own) if requirement.matches(&own) => Ok(()),
        _ => wrong(
            format!("it requires poolpick `{wanted}`, and this is {OWN}"),
            "install a version that it allows, or change `required-version` where that is yours",
        ),
    }
}
