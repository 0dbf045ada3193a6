// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Deferral, IEnergyMarket, Refusal} from "../interfaces/IEnergyMarket.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";
import {Clearing, MarketState, Progress} from "../MarketState.sol";
import {Accounts} from "./Accounts.sol";
import {AccountWord, AccountWordLib} from "./AccountWord.sol";
import {Charter} from "./Charter.sol";
import {ClearingMath} from "./ClearingMath.sol";
import {ClearingHead} from "./ClearingHead.sol";
import {CodeStore} from "./CodeStore.sol";
import {Deliveries, Delivery, Ticket} from "./Deliveries.sol";
import {LotLanes} from "./LotLanes.sol";
import {LotRecord} from "./LotRecord.sol";
import {MeterKey} from "./MeterKey.sol";
import {PriceList} from "./PriceList.sol";

/// @title The last stage: what each consumer used, and what it pays
/// @notice In pages of any size. A record that cannot be taken is refused by an event and stops no other on its page;
/// a page that runs short of gas stops where it is. Nothing here reverts for what records say.
/// @dev External functions, linked into the market: they keep its code below EIP-170's limit.
library ConsumerStage {
    using Charter for bytes;

    /// @dev What a consumers page adds up before it writes.
    struct PageSums {
        uint256[] prices; // the price table of the clearing's lots
        uint32 distributor;
        bytes32 distributorMeter;
        bool perConsumer;
        uint256 reserve;
        uint256 used;
        uint256 tokens; // still to be moved
        uint256 burnt; // in one move at the end
        uint256 income;
        uint256 done;
    }

    uint256 private constant _GAS_CONSUMER = 50_000;
    uint256 private constant _GAS_CONSUMER_LOT = 60;
    uint256 private constant _GAS_TOKENS = 110_000;
    uint256 private constant _GAS_PAGE_END = 160_000;
    uint256 private constant _GAS_SLOW_LOT = 1_200;
    uint256 private constant _GAS_SLOW = 150_000;

    /// @notice Takes records for a page of consumers.
    function take(MarketState storage s, Ticket calldata t, bytes calldata records) external {
        Clearing storage c = Deliveries.clearing(s, t.number, t.lot);
        Delivery memory d = Deliveries.begin(s, t, c, records);
        if (d.head.stage() < Progress.CONSUMERS) return Deliveries.defer(d, Deferral.OutOfTurn);
        Deliveries.page(d, d.charter.consumers());
        _takeConsumers(s, d, c);
    }

    /// @notice Closes a clearing whose grace time is over: what nobody used is burned.
    function close(MarketState storage s, Ticket calldata t, bytes32 feeder) external {
        Clearing storage c = Deliveries.clearing(s, t.number, t.lot);
        uint64 lot = uint64(t.lot);
        ClearingHead head = c.head;
        if (head.stage() != Progress.CONSUMERS) revert IMarketErrors.WrongStage(feeder, lot, uint8(head.stage()));
        bytes memory charter = CodeStore.read(s.charters[(t.number << 24) | head.charter()].code);
        uint256 notBefore = (t.lot + 1) * t.lotSeconds + charter.graceSeconds();
        if (block.timestamp < notBefore) revert IMarketErrors.TooEarly(lot, notBefore);
        (, bytes32 distributorMeter) = charter.distributor();
        c.head = Deliveries.close(t.token, feeder, t.lot, head, distributorMeter, 0);
    }

    // ------------------------------------------------------------------------------------------ consumers

    function _takeConsumers(MarketState storage s, Delivery memory d, Clearing storage c) private {
        uint256 count = d.count;
        uint32[] memory accounts;
        (d.meterIds, accounts) = d.charter.consumersAt(d.first, count);
        Deliveries.loadKeys(d);
        PageSums memory sums;
        (sums.distributor, sums.distributorMeter) = d.charter.distributor();
        sums.perConsumer = d.charter.tokensPerConsumer();
        sums.reserve = d.charter.reserve();
        sums.prices = PriceList.table(c);
        sums.tokens = Deliveries.tokensLeft(d.head);

        bool outOfGas = _takeEach(s, d, sums, accounts);
        if (sums.done != 0) {
            ClearingHead head = d.head.withUsed(sums.used, sums.done);
            Accounts.credit(s, sums.distributor, sums.income);
            if (head.consumersDone() == d.charter.consumers() && head.stage() == Progress.CONSUMERS) {
                head = Deliveries.close(d.token, d.feeder, d.lot, head, sums.distributorMeter, sums.burnt);
            } else if (sums.burnt != 0) {
                Deliveries.burn(d.token, sums.distributorMeter, sums.burnt);
            }
            c.head = head;
        }
        if (outOfGas) Deliveries.defer(d, Deferral.OutOfGas);
    }

    function _takeEach(
        MarketState storage s,
        Delivery memory d,
        PageSums memory sums,
        uint32[] memory accounts
    ) private returns (bool outOfGas) {
        uint256 least = _GAS_PAGE_END + _GAS_CONSUMER + (sums.perConsumer ? _GAS_TOKENS : 0);
        for (uint256 i = 0; i < d.count; ++i) {
            uint256 next = LotRecord.read(d.record, d.at, d.end);
            if (next != 0 && gasleft() < least + _GAS_CONSUMER_LOT * d.record.lots) return true;
            d.index = i;
            Refusal refusal = Refusal.Malformed;
            if (next != 0) {
                d.account = accounts[i];
                refusal = Deliveries.check(s, d);
                if (refusal == Refusal.None) {
                    bool skipped;
                    (refusal, skipped) = _takeConsumer(s, d, sums);
                    // one that is too far behind for the gas at hand keeps nobody behind it from being cleared
                    if (skipped) outOfGas = true;
                }
            }
            if (refusal != Refusal.None) Deliveries.refuse(d, refusal);
            if (next == 0) break;
            d.at = next;
        }
    }

    function _takeConsumer(
        MarketState storage s,
        Delivery memory d,
        PageSums memory sums
    ) private returns (Refusal refusal, bool outOfGas) {
        MeterKey key = MeterKey.wrap(d.keys[d.index]);
        uint256 energy;
        uint256 product;
        bool slow = d.lag != d.lots || key.fromLot() > d.firstLot;
        bool over;
        if (slow) (energy, over) = LotLanes.sum(d.offset, d.lag, key.capacity());
        else (energy, product, over) = LotLanes.bill(d.offset, d.lag, sums.prices, key.capacity());
        refusal = Deliveries.advance(d, energy);
        if (refusal != Refusal.None) return (refusal, false);
        if (slow || over) return (Refusal.None, !_chargeSlowly(s, d, sums));

        uint256 charged = _charge(s, d, sums, sums.distributor, product);
        s.accounts[d.account].word = Deliveries.watchReserve(d.account, d.word, sums.reserve);
        sums.used += energy;
        sums.done += 1;
        emit IEnergyMarket.ConsumerCleared(d.feeder, d.meterIds[d.index], uint64(d.lot), energy, charged);
        _moveTokens(d, sums, energy);
    }

    /// @dev Takes what a sum of energy · price comes to from the account at hand; what it cannot pay becomes arrears.
    function _charge(
        MarketState storage s,
        Delivery memory d,
        PageSums memory sums,
        uint32 creditor,
        uint256 product
    ) private returns (uint256 charged) {
        AccountWord word = d.word;
        uint256 rest;
        (charged, rest) = ClearingMath.moneyDown(product, word.remainder());
        uint256 balance = word.balance();
        uint256 paid = charged;
        if (charged > balance) {
            paid = balance;
            Accounts.owe(s, d.account, creditor, charged - balance);
            word = word.set(AccountWordLib.ARREARS);
        }
        d.word = word.withRemainder(rest).withBalance(balance - paid);
        if (creditor == sums.distributor) sums.income += paid;
        else Accounts.credit(s, creditor, paid);
    }

    /// @dev As many of the clearing's tokens as are left follow the energy: none exist for what was overdrawn.
    function _moveTokens(Delivery memory d, PageSums memory sums, uint256 energy) private {
        uint256 moved = energy < sums.tokens ? energy : sums.tokens;
        if (moved == 0) return;
        sums.tokens -= moved;
        if (!sums.perConsumer) {
            sums.burnt += moved;
            return;
        }
        _useTokens(d, sums.distributorMeter, moved);
    }

    function _useTokens(Delivery memory d, bytes32 distributorMeter, uint256 units) private {
        d.token.sendAndBurn(
            Deliveries.accountOfMeter(distributorMeter),
            Deliveries.accountOfMeter(d.meterIds[d.index]),
            units * Deliveries.TOKEN_PER_UNIT
        );
    }

    /// @dev The careful way, for a consumer that catches up over several clearings or is cut to its capacity: lot by
    /// lot, each at the price of its clearing, paid to the distributor of its time.
    /// @return finished false, and nothing changed, when the gas does not suffice
    function _chargeSlowly(
        MarketState storage s,
        Delivery memory d,
        PageSums memory sums
    ) private returns (bool finished) {
        if (gasleft() < _GAS_PAGE_END + _GAS_SLOW + d.lag * _GAS_SLOW_LOT) return false;
        uint256[] memory ends = _clearingsBack(s, d, d.lot - d.lag + 1);
        if (gasleft() < _GAS_PAGE_END + ends.length * (_GAS_SLOW + _GAS_TOKENS) + d.lag * _GAS_SLOW_LOT) return false;
        uint256[4] memory totals; // energy, charged, cut, lots done
        for (uint256 k = ends.length; k > 0; --k) {
            Clearing storage c = Deliveries.clearing(s, d.number, ends[k - 1]);
            (uint256 energy, uint256 product) = _billSlowly(d, c, totals);
            totals[0] += energy;
            if (k == 1) {
                totals[1] += _charge(s, d, sums, sums.distributor, product);
                sums.used += energy;
                sums.done += 1;
                _moveTokens(d, sums, energy);
            } else {
                totals[1] += _chargeEarlier(s, d, sums, c, ends[k - 1], energy, product);
            }
        }
        s.accounts[d.account].word = Deliveries.watchReserve(d.account, d.word, sums.reserve);
        emit IEnergyMarket.ConsumerCleared(d.feeder, d.meterIds[d.index], uint64(d.lot), totals[0], totals[1]);
        if (totals[2] != 0)
            emit IEnergyMarket.CapacityExceeded(d.feeder, d.meterIds[d.index], uint64(d.lot), totals[2]);
        return true;
    }

    function _billSlowly(
        Delivery memory d,
        Clearing storage c,
        uint256[4] memory totals
    ) private view returns (uint256 energy, uint256 product) {
        uint256[] memory prices = PriceList.read(c);
        for (uint256 i = 0; i < prices.length; ++i) {
            (uint256 e, uint256 cut) = Deliveries.capped(d, totals[3]++);
            energy += e;
            product += e * prices[i];
            totals[2] += cut;
        }
    }

    function _chargeEarlier(
        MarketState storage s,
        Delivery memory d,
        PageSums memory sums,
        Clearing storage c,
        uint256 lot,
        uint256 energy,
        uint256 product
    ) private returns (uint256 charged) {
        ClearingHead head = c.head;
        bytes memory charter = CodeStore.read(s.charters[(d.number << 24) | head.charter()].code);
        (uint32 distributor, bytes32 distributorMeter) = charter.distributor();
        charged = _charge(s, d, sums, distributor, product);
        uint256 left = Deliveries.tokensLeft(head); // none once it is closed: they were burned then
        head = head.withUsed(energy, 1);
        uint256 moved = energy < left ? energy : left;
        if (moved != 0) {
            if (charter.tokensPerConsumer()) _useTokens(d, distributorMeter, moved);
            else Deliveries.burn(d.token, distributorMeter, moved);
        }
        if (head.consumersDone() == charter.consumers() && head.stage() == Progress.CONSUMERS) {
            head = Deliveries.close(d.token, d.feeder, lot, head, distributorMeter, 0);
        }
        c.head = head;
    }

    /// @dev The last lots of the clearings from this one back to the one that holds `from`.
    function _clearingsBack(
        MarketState storage s,
        Delivery memory d,
        uint256 from
    ) private view returns (uint256[] memory ends) {
        uint256 n = 1;
        for (uint256 first = d.firstLot; first > from; ++n) {
            first -= Deliveries.clearing(s, d.number, first - 1).head.lots();
        }
        ends = new uint256[](n);
        uint256 lot = d.lot;
        for (uint256 k = 0; k < n; ++k) {
            ends[k] = lot;
            lot -= Deliveries.clearing(s, d.number, lot).head.lots();
        }
    }
}
