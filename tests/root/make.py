"""Makes the ROOT files of this directory, and what ROOT itself reads from them, as JSON.

Needs ROOT 6.40 (pip install root==0.1a12, Linux) and nothing else; run as: python make.py. The files differ in dates and
UUIDs from run to run; those that are committed were made once, so that the tests need no ROOT.
"""

import json
import random
from pathlib import Path

import ROOT

HERE = Path(__file__).parent
ENTRIES = 120

ROOT.gROOT.SetBatch(True)
ROOT.gInterpreter.Declare("""
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <ROOT/RNTupleWriteOptions.hxx>

struct Event {
  int n; float pt[10]; int q[10]; unsigned long long big; double d3[3]; signed char c; unsigned char uc; short sh;
  bool b; Double32_t d32; Float16_t f16; Double32_t d33[3]; long l; char text[8]; int two[2][3];
};
Event event;
void fill_d33(int i) { for (int k = 0; k < 3; ++k) event.d33[k] = i + k / 4.; }

struct Muon { float pt; int q; };

void write_ntuple(const char* path) {
  auto model = ROOT::RNTupleModel::Create();
  auto met = model->MakeField<float>("met");
  auto weight = model->MakeField<double>("weight");
  auto run = model->MakeField<std::int64_t>("run");
  auto flag = model->MakeField<bool>("flag");
  auto name = model->MakeField<std::string>("name");
  auto cov = model->MakeField<std::array<double, 3>>("cov");
  auto jets = model->MakeField<std::vector<float>>("jets");
  auto tags = model->MakeField<std::vector<bool>>("tags");
  auto ids = model->MakeField<ROOT::RVec<std::int32_t>>("ids");
  auto maybe = model->MakeField<std::optional<float>>("maybe");
  auto nested = model->MakeField<std::vector<std::vector<float>>>("nested");
  auto muons = model->MakeField<std::vector<Muon>>("Muon");
  auto projected = ROOT::RFieldBase::Create("nMuon", "ROOT::RNTupleCardinality<std::uint32_t>").Unwrap();
  model->AddProjectedField(std::move(projected), [](const std::string&) { return "Muon"; });
  auto writer = ROOT::RNTupleWriter::Recreate(std::move(model), "events", path);
  for (int i = 0; i < 120; ++i) {
    *met = i / 3.f; *weight = 1. / (i + 1); *run = -i; *flag = i % 3 == 0; *name = i % 2 ? "odd" : "even";
    *cov = {i * 1., i * 2., i * 3.};
    jets->clear(); tags->clear(); ids->clear(); nested->clear(); muons->clear();
    for (int k = 0; k < i % 4; ++k) { jets->push_back(i + k / 8.f); tags->push_back((i + k) % 2); ids->push_back(k - i); }
    for (int k = 0; k < i % 3; ++k) muons->push_back(Muon{i + k / 4.f, k % 2 ? 1 : -1});
    if (i % 5) *maybe = i / 2.f; else maybe->reset();
    writer->Fill();
    if (i % 50 == 49) writer->CommitCluster();
  }
}
""")


def fill_event(generator, i):
    event = ROOT.event
    event.n = generator.randrange(5)
    for k in range(event.n):
        event.pt[k] = generator.random() * 100
        event.q[k] = generator.choice([-1, 1])
    for k in range(3):
        event.d3[k] = i + k / 4
    ROOT.fill_d33(i)  # Python sees no Double32_t in arrays
    for k in range(6):
        event.two[k // 3][k % 3] = i
    event.big, event.c, event.uc, event.sh, event.b = 2**40 + i, -i, 250 - i, -3 * i, i % 3 == 0
    event.d32, event.f16, event.l = i / 3, i / 7, -(2**40) - i
    for k, character in enumerate(generator.choice(["mu", "el", "tau"]) + "\0"):
        event.text[k] = character


def write_trees(path):
    file = ROOT.TFile(str(path), "RECREATE")
    file.SetCompressionSettings(505)
    address = lambda name: ROOT.addressof(ROOT.event, name)  # noqa: E731
    vectors = {
        "vf": ROOT.std.vector("float")(),
        "vb": ROOT.std.vector("bool")(),
        "vv": ROOT.std.vector("std::vector<float>")(),
    }
    text = ROOT.std.string()
    generator = random.Random(1)

    tree = ROOT.TTree("events", "events")
    for leaf in (
        "n/I",
        "pt[n]/F",
        "q[n]/I",
        "big/l",
        "d3[3]/D",
        "c/B",
        "uc/b",
        "sh/S",
        "b/O",
        "f16/f",
        "l/L",
        "text/C",
        "two[2][3]/I",
    ):
        name = leaf.split("/")[0].split("[")[0]
        tree.Branch(name, address(name), leaf)
    tree.Branch("d32", address("d32"), "d32/d[0,100,16]")
    tree.Branch("d33", address("d33"), "d33[3]/d[0,1000,20]")
    tree.Branch("leaves", address("n"), "a/I:b/F")
    for name, vector in vectors.items():
        tree.Branch(name, vector)
    tree.Branch("s", text)
    tree.SetAutoFlush(50)
    for i in range(ENTRIES):
        fill_event(generator, i)
        for vector in vectors.values():
            vector.clear()
        for k in range(generator.randrange(4)):
            vectors["vf"].push_back(generator.random())
            vectors["vb"].push_back(k % 2 == 0)
        text.assign(generator.choice(["a", "bb", ""]))
        tree.Fill()
    tree.Write()

    # Without tables of where entries begin: only the counter knows. And baskets that end nowhere together. Returned is
    # what was filled: RDataFrame of ROOT 6.40 misreads this tree (from entry 58 on), and uproot 5.7 can't read it.
    ROOT.gInterpreter.ProcessLine(
        "ROOT::TIOFeatures features; features.Set(ROOT::Experimental::EIOFeatures::kGenerateOffsetMap);"
    )
    mapped = ROOT.TTree("mapped", "mapped")
    mapped.SetIOFeatures(ROOT.features)
    for name, leaf in (("n", "n/I"), ("pt", "pt[n]/F"), ("q", "q[n]/I"), ("l", "l/L")):
        mapped.Branch(name, address(name), leaf, 256 if name != "l" else 400)
    mapped.SetAutoFlush(0)
    filled = {"n": [], "pt": [], "q": [], "l": []}
    for i in range(ENTRIES):
        fill_event(generator, i)
        mapped.Fill()
        event = ROOT.event
        for name in ("n", "l"):
            filled[name].append(int(getattr(event, name)))
        for name in ("pt", "q"):
            filled[name].append([plain(getattr(event, name)[k]) for k in range(event.n)])
    mapped.Write()
    ROOT.TTree("empty", "no entries").Write()
    file.Close()
    return filled


def write_objects(path):
    """Write branches that group others, one that ends too early, and a class that is no number."""
    file = ROOT.TFile(str(path), "RECREATE")
    tree = ROOT.TTree("events", "events")
    muons, vector, unsplit = ROOT.std.vector("Muon")(), ROOT.TLorentzVector(), ROOT.TLorentzVector()
    tree.Branch("Muons", muons)
    tree.Branch("p4.", vector)
    tree.Branch("whole", unsplit, 32000, 0)
    histogram = ROOT.TH1F("h", "h", 1, 0, 1)
    tree.Branch("histogram", histogram)
    late = tree.Branch("early", ROOT.addressof(ROOT.event, "n"), "early/I")
    filled = {"Muons.pt": [], "Muons.q": []}
    for i in range(20):
        muons.clear()
        for k in range(i % 4):
            muons.push_back(ROOT.Muon(i + k / 4, k - 1))
        vector.SetPxPyPzE(i, 0, 0, 2 * i)
        filled["Muons.pt"].append([i + k / 4 for k in range(i % 4)])
        filled["Muons.q"].append([k - 1 for k in range(i % 4)])
        if i == 10:
            late.SetStatus(0)
        tree.Fill()
    tree.Write()
    file.Close()
    return filled


def plain(value):
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str) or "string" in type(value).__name__:
        return str(value)
    return [plain(item) for item in value]


def read_back(path, tree, columns):
    frame = ROOT.RDataFrame(tree, str(path))
    return {
        column: [plain(value) for value in frame.Take[frame.GetColumnType(column)](column).GetValue()]
        for column in columns
    }


if __name__ == "__main__":
    filled = write_trees(HERE / "trees.root")
    objects = write_objects(HERE / "objects.root")
    ROOT.write_ntuple(str(HERE / "ntuple.root"))
    trees, ntuple = HERE / "trees.root", HERE / "ntuple.root"
    expected = {
        "trees.root": {
            "events": read_back(
                trees, "events", ["n", "pt", "q", "big", "d3", "sh", "b", "l", "vf", "vb", "s", "d32", "f16"]
            ),
            "mapped": filled,
        },
        "objects.root": {"events": objects},
        "ntuple.root": {
            "events": read_back(
                ntuple,
                "events",
                ["met", "weight", "run", "flag", "name", "cov", "jets", "tags", "ids", "Muon.pt", "Muon.q", "nMuon"],
            )
        },
    }
    (HERE / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
