"""The kvalign command as its users meet it: help, recipes, mistakes, a small run from data to report.

Run by ctest, which names the built command in the environment: KVALIGN=build/release/tools/kvalign
python3 -m unittest tests/tools/kvalign_test.py
"""
import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KVALIGN = pathlib.Path(os.environ["KVALIGN"]).resolve()
CONFIGS = ROOT / "configs"
COMMANDS = [["capture"], ["dataset", "generate"], ["dataset", "inspect"], ["dataset", "verify"],
            ["dataset", "stats"], ["distill-train"], ["fine-tune"], ["eval"], ["continue"]]


def kvalign(*arguments, **options):
    """stdin is closed, so that nothing can wait for it."""
    return subprocess.run([KVALIGN, *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, **options)


class Case(unittest.TestCase):
    def run_to(self, code, *arguments, **options):
        result = kvalign(*arguments, **options)
        self.assertEqual(result.returncode, code, f"{arguments}\n{result.stdout}\n{result.stderr}")
        return result

    def refuse(self, text, *arguments, code=2):
        """Ends with the exit code, a reason on stderr, and nothing on stdout."""
        result = self.run_to(code, *arguments)
        self.assertIn(text, result.stderr)
        self.assertEqual(result.stdout, "")


class HelpAndVersion(Case):
    def test_version(self):
        self.assertRegex(self.run_to(0, "--version").stdout, r"^kvalign \d+\.\d+\.\d+\n$")

    def test_help_names_every_subcommand_and_exit_code(self):
        text = self.run_to(0, "--help").stdout
        for word in ["capture", "dataset", "distill-train", "fine-tune", "eval", "continue", "serve", "load", "export",
                     "encode", "decode", "Exit codes: 0 done, 1 failed"]:
            self.assertIn(word, text)

    def test_every_subcommand_has_help_with_the_options_of_its_recipe(self):
        for command in COMMANDS:
            text = self.run_to(0, *command, "--help").stdout
            for word in ["--config FILE", "--set KEY=VALUE", "--print-config", "--json",
                         "dataset.folder  (a string; required)"]:
                self.assertIn(word, text, command)
        self.assertIn("train.epochs  (a whole number >= 1; default",
                      self.run_to(0, "distill-train", "--help").stdout)
        self.assertIn("evaluate.baselines  (a list of", self.run_to(0, "eval", "--help").stdout)

    def test_help_is_the_same_every_time(self):
        self.assertEqual(self.run_to(0, "eval", "--help").stdout,
                         self.run_to(0, "eval", "--help").stdout)


class Recipes(Case):
    def test_every_recipe_of_the_project_is_accepted(self):
        recipes = [path for path in CONFIGS.rglob("*.yaml")
                   if not path.name.startswith("refused_") and path.parent.name != "targets"]
        self.assertGreater(len(recipes), 2)
        for path in recipes:
            self.run_to(0, "distill-train", "--config", path, "--print-config")

    def test_recipes_that_must_be_refused_are_and_say_why(self):
        recipes = sorted((CONFIGS / "tests").glob("refused_*.yaml"))
        self.assertGreater(len(recipes), 8)
        for path in recipes:
            reason = path.read_text().splitlines()[0].removeprefix("# refused: ")
            with self.subTest(path.name):
                self.refuse(reason, "distill-train", "--config", path)

    def test_printed_config_reads_back_to_itself(self):
        for command in COMMANDS:
            first = self.run_to(0, *command, "--config", CONFIGS / "tests/tiny.yaml", "--set",
                                "dataset.folder='a b: #c'", "--print-config").stdout
            self.assertIn('folder: "a b: #c"', first)
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(first)
                file.flush()
                again = self.run_to(0, *command, "--config", file.name, "--print-config").stdout
            self.assertEqual(again, first)

    def test_set_wins_over_the_file(self):
        text = self.run_to(0, "distill-train", "--config", CONFIGS / "tests/tiny.yaml", "--set",
                           "train.epochs=7", "--set", "projector={kind: mlp}",
                           "--print-config").stdout
        self.assertIn("epochs: 7\n", text)
        self.assertIn("kind: mlp\n", text)

    def test_flags_set_the_options_they_stand_for(self):
        text = self.run_to(0, "eval", "--checkpoint", "A=a.safetensors", "--checkpoint",
                           "b.safetensors", "--output", "out", "--print-config").stdout
        self.assertIn('checkpoints: ["A=a.safetensors", b.safetensors]', text)
        self.assertIn("output: out\n", text)
        text = self.run_to(0, "eval", "--set", "run_folder=runs/x", "--print-config").stdout
        self.assertIn("checkpoints: [runs/x/checkpoint.safetensors]", text)
        self.assertIn("output: runs/x\n", text)
        text = self.run_to(0, "dataset", "inspect", "data/x", "--print-config").stdout
        self.assertIn("folder: data/x\n", text)


class WrongUsage(Case):
    def test_mistakes_of_the_command_line(self):
        self.refuse("subcommand is required")
        self.refuse("subcommand is required", "dataset")
        self.refuse("bogus", "bogus")
        self.refuse("--bogus", "eval", "--bogus")
        self.refuse("--config: 1 required FILE missing", "eval", "--config")
        self.refuse("needs a path", "eval", "--config", "")

    def test_mistakes_of_set_and_config(self):
        self.refuse("--set seed: expected key.path=value, got no '='", "eval", "--set", "seed")
        self.refuse("--set train.epoch=1: unknown option 'train.epoch'; did you mean "
                    "'train.epochs'? Known in 'train': epochs, learning_rate,",
                    "distill-train", "--set", "train.epoch=1")
        self.refuse("cannot open '/no/such.yaml': No such file or directory", "eval", "--config",
                    "/no/such.yaml")

    def test_required_options(self):
        self.refuse("option 'run_folder' is required", "distill-train")
        self.refuse("option 'dataset.folder' is required", "dataset", "verify")

    def test_a_full_disk_under_stdout_is_a_failure(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([KVALIGN, "eval", "--print-config"], stdout=full,
                                    stderr=subprocess.PIPE, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn("cannot write to standard output", result.stderr)


class Runs(Case):
    """Each test has a folder with a dataset made from configs/tests/tiny.yaml."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="kvalign_tools_"))
        for name in ["tiny", "tiny_layers"]:
            result = kvalign(*cls.arguments("dataset generate", name))
            assert result.returncode == 0, result.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def arguments(cls, command, name="tiny", run=None):
        sets = ["--set", f"dataset.folder={cls.folder}/data_{name}"]
        if run:
            sets += ["--set", f"run_folder={cls.folder}/{run}"]
        return [*command.split(), "--config", CONFIGS / f"tests/{name}.yaml", *sets]

    def train_and_evaluate(self, name, figures):
        run = self.folder / f"run_{name}"
        trained = self.run_to(0, *self.arguments("distill-train", name, run.name))
        self.assertIn(f"{run}/checkpoint.safetensors", trained.stdout)
        for line in ["kvalign 0", "device cpu", "threads", "options: ", "validation loss"]:
            self.assertIn(line, trained.stderr)
        for file in ["config.yaml", "metrics.jsonl", "checkpoint.safetensors",
                     "events.out.tfevents.kvalign", "training_state.safetensors"]:
            self.assertTrue((run / file).exists(), file)
        for line in (run / "metrics.jsonl").read_text().splitlines():
            self.assertIn("event", json.loads(line))

        evaluated = self.run_to(0, *self.arguments("eval", name, run.name))
        for word in [run.name, "mean", "random", *figures]:
            self.assertIn(word, evaluated.stdout)
        report = json.loads((run / "report.json").read_text())
        self.assertEqual(report["schema"], 1)
        self.assertTrue((run / "report.md").read_text())
        self.assertIn("Training of", (run / "report.html").read_text())
        as_json = self.run_to(0, *self.arguments("eval", name, run.name), "--json").stdout
        self.assertEqual(json.loads(as_json)["reconstruction"], report["reconstruction"])

    def test_flat_from_data_to_report(self):
        self.train_and_evaluate("tiny", ["R²"])

    def test_layers_from_data_to_report(self):
        self.train_and_evaluate("tiny_layers", ["keys", "values"])

    def test_fine_tuned_and_plain_checkpoints_stand_side_by_side(self):
        self.run_to(0, *self.arguments("distill-train", run="plain"))
        plain = self.folder / "plain/checkpoint.safetensors"
        for trained in ["head", "projector", "both"]:
            tuned = self.run_to(0, *self.arguments("fine-tune", run=f"tuned_{trained}"), "--set",
                                f"fine_tune.train={trained}", "--checkpoint", plain)
            self.assertIn(f"tuned_{trained}/checkpoint.safetensors", tuned.stdout)
            self.assertIn("task head: accuracy", tuned.stderr)
        checkpoints = [f"--checkpoint=before={plain}"]
        checkpoints += [f"--checkpoint={trained}={self.folder}/tuned_{trained}/checkpoint.safetensors"
                        for trained in ["head", "projector", "both"]]
        evaluated = self.run_to(0, *self.arguments("eval", run="plain"), *checkpoints, "--output",
                                self.folder / "compared")
        self.assertIn("both minus before", evaluated.stdout)
        report = json.loads((self.folder / "compared/report.json").read_text())
        rows = {row["row"]: row["task"] for row in report["reconstruction"]["rows"]}
        self.assertNotIn("own_head", rows["before"])
        # The projector that was frozen is the one before.
        self.assertEqual(rows["head"]["accuracy"], rows["before"]["accuracy"])
        self.assertIn("balanced_accuracy", rows["both"]["own_head"])
        self.assertIn("own head", (self.folder / "compared/report.html").read_text())

    def test_fine_tuning_needs_a_checkpoint(self):
        self.refuse("option 'fine_tune.checkpoint' is required",
                    *self.arguments("fine-tune", run="tuned_nothing"))
        self.refuse("/no/such.safetensors", *self.arguments("fine-tune", run="tuned_nothing"),
                    "--checkpoint", "/no/such.safetensors", code=1)

    def test_kinds_that_read_the_receivers_cache(self):
        for kind, term, way in [("bidirectional", "backward_mse", "receiver to sender to receiver"),
                                ("autoencoder", "reconstruction_mse", "receiver to latent to receiver")]:
            sets = ["--set", f"projector.kind={kind}", "--set", "projector.rank=8"]
            trained = self.run_to(0, *self.arguments("distill-train", "tiny_layers", kind), *sets)
            self.assertIn(term, trained.stderr)
            evaluated = self.run_to(0, *self.arguments("eval", "tiny_layers", kind), *sets)
            self.assertIn(way, evaluated.stdout)
            self.assertIn(way, (self.folder / kind / "report.md").read_text())
        self.refuse("cycle_sender and cycle_receiver expect projector.kind bidirectional",
                    *self.arguments("distill-train", "tiny_layers", "one_way"), "--set",
                    "round_trip.cycle_sender=1", code=1)

    def test_dataset_commands(self):
        data = self.folder / "data_tiny"
        for command in ["inspect", "verify", "stats"]:
            self.assertTrue(self.run_to(0, "dataset", command, data).stdout)
            json.loads(self.run_to(0, "dataset", command, data, "--json").stdout)
        inspected = json.loads(self.run_to(0, "dataset", "inspect", data, "--json").stdout)
        self.assertIn("24", json.dumps(inspected))

    def test_saved_config_repeats_the_run(self):
        self.run_to(0, *self.arguments("distill-train", run="first"))
        again = ["distill-train", "--config", self.folder / "first/config.yaml", "--set",
                 f"run_folder={self.folder}/second"]
        self.run_to(0, *again)
        weights = [self.run_to(0, "eval", "--config", self.folder / run / "config.yaml", "--json")
                   for run in ["first", "second"]]
        first, second = [json.loads(run.stdout)["reconstruction"]["rows"][0] for run in weights]
        self.assertEqual(first["streams"], second["streams"])

    def test_a_flipped_bit_is_found_and_its_file_named(self):
        data = self.folder / "data_flipped"
        shutil.copytree(self.folder / "data_tiny", data)
        shard = sorted(data.glob("*.safetensors"))[1]
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1
        shard.write_bytes(content)
        result = self.run_to(1, "dataset", "verify", data)
        self.assertIn(shard.name, result.stdout)
        self.assertFalse(json.loads(self.run_to(1, "dataset", "verify", data, "--json").stdout)
                         .get("sound", False))

    def test_a_truncated_shard_stops_training_and_names_the_file(self):
        data = self.folder / "data_truncated"
        shutil.copytree(self.folder / "data_tiny", data)
        shard = sorted(data.glob("*.safetensors"))[0]
        shard.write_bytes(shard.read_bytes()[:-100])
        self.refuse(shard.name, *self.arguments("distill-train", run="truncated"), "--set",
                    f"dataset.folder={data}", code=1)

    def test_missing_dataset_and_device_fail_with_a_reason_and_no_stack_trace(self):
        result = self.run_to(1, "dataset", "inspect", "/no/such/dataset")
        self.assertIn("/no/such/dataset", result.stderr)
        result = self.run_to(1, *self.arguments("distill-train", run="device"), "--set",
                             "device=toaster")
        self.assertIn("toaster", result.stderr)
        self.assertNotIn("Exception raised from", result.stderr)

    def test_a_run_folder_in_use_is_refused(self):
        self.run_to(0, *self.arguments("distill-train", run="used"))
        self.refuse("holds a run already", *self.arguments("distill-train", run="used"), code=1)
        self.run_to(0, *self.arguments("distill-train", run="used"), "--resume")

    def interrupt(self, number):
        """Trains for long, and sends the signal once steps are logged."""
        run = self.folder / f"signal_{number}"
        arguments = self.arguments("distill-train", run=run.name) + ["--set", "train.epochs=100000"]
        process = subprocess.Popen([KVALIGN, *map(str, arguments)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        metrics = run / "metrics.jsonl"
        deadline = time.monotonic() + 60
        while not (metrics.exists() and "train_step" in metrics.read_text()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
        self.assertEqual((process.returncode, stdout), (128 + number, ""), stderr)
        self.assertIn("--resume goes on from", stderr)
        self.assertTrue((run / "training_state.safetensors").exists())

    def test_interrupt_saves_the_state(self):
        self.interrupt(signal.SIGINT)

    def test_termination_saves_the_state(self):
        self.interrupt(signal.SIGTERM)

    def test_bar_is_for_terminals_alone(self):
        arguments = [KVALIGN, *map(str, self.arguments("distill-train", run="terminal"))]
        mine, its = pty.openpty()
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=its)
        os.close(its)
        shown = b""
        while True:
            try:
                shown += os.read(mine, 4096)
            except OSError:  # the terminal's other end is closed
                break
        stdout = process.communicate()[0]
        os.close(mine)
        self.assertEqual(process.returncode, 0)
        self.assertIn(b"train [", shown)
        self.assertNotIn(b"train [", stdout)
        plain = self.run_to(0, *self.arguments("distill-train", run="no_terminal"))
        self.assertNotIn("train [", plain.stderr)
        self.assertNotIn("\r", plain.stderr)


if __name__ == "__main__":
    unittest.main()
