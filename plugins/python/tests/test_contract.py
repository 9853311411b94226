"""What the SDK ships beside its code."""

import unittest
from pathlib import Path

HERE = Path(__file__).parent.parent


class ContractTest(unittest.TestCase):
    def test_the_copy_of_the_contract_is_the_contract(self):
        contract = HERE.parent.parent / "wit" / "handler.wit"
        self.assertEqual((HERE / "sdk/wit/handler.wit").read_bytes(), contract.read_bytes())


if __name__ == "__main__":
    unittest.main()
