//! Every block of code in README.md stands, line by line, in the file named above it.

const README: &str = include_str!("../README.md");
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("../Cargo.toml")),
    ("src/wire.rs", include_str!("../src/wire.rs")),
    ("src/lib.rs", include_str!("../src/lib.rs")),
    ("tests/fake_gatebox/mod.rs", include_str!("fake_gatebox/mod.rs")),
    ("tests/a_gatebox_behaves.rs", include_str!("a_gatebox_behaves.rs")),
];

#[test]
fn every_block_stands_in_its_file() {
    let (mut blocks, mut file) = (0, "");
    let mut parts = README.split("```");
    while let Some(text) = parts.next() {
        let named =
            text.lines().rev().find_map(|line| FILES.iter().find(|(name, _)| line.contains(&format!("`{name}`"))));
        if let Some((name, _)) = named {
            file = name;
        }
        let Some(block) = parts.next() else { break };
        let Some(code) = block.strip_prefix("rust\n").or_else(|| block.strip_prefix("toml\n")) else { continue };
        let (_, source) =
            FILES.iter().find(|(name, _)| *name == file).expect("a block stands below the name of its file");
        assert!(source.contains(code.trim_end_matches('\n')), "{file} does not hold this block:\n{code}");
        blocks += 1;
    }
    assert!(blocks >= 8, "only {blocks} blocks were found");
}
