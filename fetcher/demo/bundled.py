"""The small data that comes with the package, read into the two upstreams."""

import json
from importlib.resources import files

from fetcher.demo.github_models import GithubUser
from fetcher.demo.github_state import GithubState
from fetcher.demo.ncbi_state import NcbiState
from fetcher.demo.ncbi_taxonomy import Taxon

__all__ = ["load_github", "load_ncbi"]


def load_github(state: GithubState) -> None:
    """Repositories as recorded from GitHub; the releases' JSON is trimmed."""
    folder = files("fetcher.demo") / "data" / "github"
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if not file.name.endswith(".json"):
            continue
        shape = json.loads(file.read_text(encoding="utf-8"))
        repo = state.add_repository(
            shape.get("formerly", shape["full_name"]),
            shape["id"],
            private=shape["private"],
            archived=shape["archived"],
            description=shape["description"],
            created_at=shape["created_at"],
        )
        if "formerly" in shape:
            state.rename(repo, shape["full_name"])
        for tag in shape["tags"]:
            state.add_tag(repo, tag["name"], tag["commit"]["sha"])
        for release in shape["releases"]:
            wanted = {**release}
            wanted["author"] = wanted["author"]["login"]
            state.add_release(repo, wanted.pop("tag_name"), **wanted)
    state.tokens["demo-token"] = GithubUser("Codertocat", push={"Codertocat/Hello-World"})


def load_ncbi(state: NcbiState) -> None:
    """Records of NCBI, most of them of plant viruses, and the taxa above them."""
    folder = files("fetcher.demo") / "data" / "ncbi"
    for database, ending, place in (
        ("nuccore", ".gb", folder),
        ("protein", ".gp", folder / "protein"),
    ):
        if not place.is_dir():
            continue
        for file in sorted(place.iterdir(), key=lambda each: each.name):
            if file.name.endswith(ending):
                state.add(database, file.read_bytes())
    taxonomy = folder / "taxonomy.json"
    if taxonomy.is_file():
        for taxon in json.loads(taxonomy.read_text(encoding="utf-8")):
            state.add_taxon(Taxon(**taxon))
    state.api_keys["demo-key"] = 10
