//! Names of interfaces and the versions in them.

/// An interface of the contract's, in this version.
pub(crate) fn of_version(interface: &str, version: &str) -> String {
    let name = interface.split_once('@').map_or(interface, |(name, _)| name);
    format!("{name}@{version}")
}

/// Whether `import` is one of `allowed`: the same interface, in a version that is compatible.
pub(crate) fn is_allowed(import: &str, allowed: &[&str]) -> bool {
    allowed.iter().any(|name| *name == import || family(name).is_some() && family(name) == family(import))
}

/// An interface without the part of its version that may differ: `a:b/c@0.2.6` is of the family `a:b/c`, 0, 2.
fn family(name: &str) -> Option<(&str, &str, &str)> {
    let (interface, version) = name.split_once('@')?;
    let mut parts = version.splitn(3, '.');
    let (major, minor) = (parts.next()?, parts.next()?);
    // A pre-release is compatible with nothing but itself.
    let patch = parts.next()?;
    patch.bytes().all(|digit| digit.is_ascii_digit()).then_some((interface, major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_patch_of_an_allowed_interface_is_allowed() {
        let allowed = ["wasi:io/poll@0.2.6"];
        for yes in ["wasi:io/poll@0.2.6", "wasi:io/poll@0.2.0", "wasi:io/poll@0.2.12"] {
            assert!(is_allowed(yes, &allowed), "{yes}");
        }
        for no in ["wasi:io/poll@0.3.0", "wasi:io/poll@0.2.0-rc", "wasi:io/streams@0.2.6", "wasi:io/poll", "poll"] {
            assert!(!is_allowed(no, &allowed), "{no}");
        }
    }
}
