//! Copies of the contract are equal to it.

use super::Tree;

const CONTRACT: &str = "wit/handler.wit";

/// SDKs whose tools read the contract from their own folder have a copy, which says what `wit/handler.wit` says.
pub fn copies(tree: &Tree, findings: &mut Vec<String>) {
    let Some(contract) = tree.get(CONTRACT) else {
        findings.push(format!("{CONTRACT} is not there"));
        return;
    };
    let copies = tree.sources.iter().filter(|source| source.path.ends_with("/handler.wit"));
    for copy in copies.filter(|copy| copy.text != contract.text) {
        findings.push(format!("{}: is not what {CONTRACT} is; copy that one over it", copy.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_differs_is_found() {
        let [here, equal] = [(CONTRACT, "package a;\n"), ("plugins/python/sdk/wit/handler.wit", "package a;\n")];
        assert!(Tree::of([here, equal]).found(copies).is_empty());
        let said = Tree::of([here, ("plugins/go/handler.wit", "package b;\n"), equal]).found(copies);
        assert_eq!(said, ["plugins/go/handler.wit: is not what wit/handler.wit is; copy that one over it"]);
        assert_eq!(Tree::of([equal]).found(copies), ["wit/handler.wit is not there"]);
    }
}
