// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {LinkTokenInterface} from "@chainlink/contracts/src/v0.8/shared/interfaces/LinkTokenInterface.sol";
import {IEnergyMarket, Stage} from "../interfaces/IEnergyMarket.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";
import {Clearing, Feeder, MarketState, Progress, Repeat} from "../MarketState.sol";
import {Charter} from "./Charter.sol";
import {ClearingHead, ClearingHeadLib} from "./ClearingHead.sol";
import {CodeStore} from "./CodeStore.sol";
import {FeederCharters} from "./FeederCharters.sol";
import {OracleSeats} from "./OracleSeats.sol";
import {Page, Pages} from "./Pages.sol";
import {Purpose} from "./Purpose.sol";
import {PendingRequest, ReadingRequest} from "./ReadingRequest.sol";

/// @title Opens lots and asks the oracles for their readings
/// @dev External functions, linked into the market: they keep its code below EIP-170's limit. A request's nonce is
/// what it is for and how often that was asked before, so no counter has to be kept.
library Requests {
    using Charter for bytes;
    using OracleSeats for bytes;

    /// @notice Where the requests are sent from.
    struct Office {
        LinkTokenInterface link;
        uint256 lotSeconds;
    }

    /// @dev One request, ready to be sent.
    struct Request {
        uint96 purpose;
        uint16 first;
        uint16 count;
        Stage stage;
        bytes query;
    }

    /// @dev What the sending of a feeder's requests works on.
    struct Round {
        bytes32 feeder;
        uint64 lot;
        bytes seats;
        uint256 seat; // whose turn it is
        uint256 left; // how many have not refused
        uint256 times; // how often the same was asked before
        address payer; // 0: the feeder
        uint256 prepaid; // requests that the feeder has paid for at once; 0: each is paid for when it is sent
        uint256 sent; // of these
        uint256 setAside; // gas for the requests after the one at hand
    }

    // Gas to set aside for each request of an opening, and for each of its members; what does not fit the gas at hand is
    // requested by opening again.
    uint256 private constant _GAS_REQUEST = 150_000;
    uint256 private constant _GAS_REQUEST_MEMBER = 2_500;
    uint256 private constant _GAS_REST = 60_000;
    // What LINK and an operator may use of it at least, and at most, where there is more gas than what is set aside: an
    // operator that burns all it gets stops nobody.
    uint256 private constant _GAS_OPERATOR = 120_000;
    uint256 private constant _GAS_OPERATOR_MEMBER = 2_000;
    uint256 private constant _GAS_OPERATOR_MOST = 1_000_000;
    uint256 private constant _GAS_SENDING = 40_000;

    // ------------------------------------------------------------------------------------------ opening

    /// @notice Opens the lots up to `lot`, or finds that they are open and not all requested yet; then sends as many
    /// requests as the gas suffices for.
    function open(
        MarketState storage s,
        mapping(bytes32 requestId => PendingRequest) storage pending,
        Office calldata office,
        bytes32 feeder,
        uint64 lot
    ) external {
        Feeder storage f = _known(s, feeder);
        if (f.paused) revert IMarketErrors.OpeningsArePaused(feeder);
        if (f.charters == 0) revert IMarketErrors.NotChartered(feeder);
        Page memory page;
        (page.feeder, page.number, page.lot) = (feeder, f.number, lot);
        page.behind = f.silent != 0;
        Clearing storage c = s.clearings[(page.number << 40) | lot];
        bytes memory charter;
        ClearingHead head;
        if (lot > f.openedLot) {
            (head, charter) = _begin(s, f, feeder, lot, office.lotSeconds);
        } else {
            // a large feeder's requests take several transactions
            head = c.head;
            if (lot < f.openedLot || head.lots() == 0) revert IMarketErrors.NothingToOpen(feeder, lot);
            charter = _charter(s, page.number, head.charter());
            if (head.requested() >= Pages.members(charter)) revert IMarketErrors.NothingToOpen(feeder, lot);
        }
        address operators = f.operators;
        if (operators == address(0)) {
            c.head = head.withRequested(Pages.members(charter));
            return;
        }
        Round memory round;
        (round.feeder, round.lot, round.seats) = (feeder, lot, CodeStore.read(operators));
        round.left = round.seats.count();
        Request[] memory requests;
        (requests, head) = _plan(s, head, charter, page);
        // all is in place before the first is sent: what an operator does inside it finds the clearing opened and asked
        c.head = head;
        (, , uint256 payment) = round.seats.at(0);
        _spendLink(feeder, f, requests.length * payment);
        _sendAll(s, f, c, pending, office.link, round, requests);
    }

    function _begin(
        MarketState storage s,
        Feeder storage f,
        bytes32 feeder,
        uint64 lot,
        uint256 lotSeconds
    ) private returns (ClearingHead head, bytes memory charter) {
        uint256 lots = lot - f.openedLot;
        uint256 index;
        uint256 last;
        (index, charter, last) = _nextCharter(s, f, lot - lots);
        uint256 end = (uint256(lot) + 1) * lotSeconds;
        _checkOpening(feeder, charter, lot, lots, last, end);
        head = ClearingHeadLib.begun(
            lots,
            index,
            charter.plants() == 0 ? Progress.DISTRIBUTOR : Progress.PLANTS,
            block.timestamp - end
        );
        f.openedLot = uint40(lot);
        f.charter = uint24(index);
        emit IEnergyMarket.LotsOpened(feeder, lot, uint32(lots));
    }

    /// @dev All pages that are not requested yet, in the order of the stages, as far as the gas goes.
    function _plan(
        MarketState storage s,
        ClearingHead head,
        bytes memory charter,
        Page memory page
    ) private view returns (Request[] memory requests, ClearingHead) {
        uint256 total = Pages.members(charter);
        uint256 position = head.requested();
        uint256 size = Pages.sizeFor(head.lots());
        requests = new Request[](2 + charter.plants() / size + charter.consumers() / size + 1);
        uint256 setAside = 0;
        uint256 n = 0;
        while (position < total) {
            uint256 count = Pages.begin(page, charter, position, size);
            uint256 need = _GAS_REQUEST + _GAS_REQUEST_MEMBER * count;
            if (n != 0 && gasleft() < setAside + need + _GAS_REST) break;
            setAside += need;
            position += count;
            _fill(s, requests[n++], page, head, charter);
        }
        assembly ("memory-safe") {
            mstore(requests, n)
        }
        return (requests, head.withRequested(position));
    }

    function _fill(
        MarketState storage s,
        Request memory request,
        Page memory page,
        ClearingHead head,
        bytes memory charter
    ) private view {
        (string memory stage, bytes32[] memory meterIds, uint256 lots) = Pages.query(s, page, head, charter);
        request.purpose = Purpose.pack(page.number, page.lot, page.stage, page.first);
        (request.stage, request.first, request.count) = (page.stage, uint16(page.first), uint16(page.count));
        request.query = ReadingRequest.encode(page.feeder, page.lot, lots, stage, meterIds);
    }

    /// @notice A page's request once more, to the next operator, when the one before had its time.
    function again(
        MarketState storage s,
        mapping(bytes32 requestId => PendingRequest) storage pending,
        Office calldata office,
        bytes32 feeder,
        uint64 lot,
        Stage stage,
        uint16 first
    ) external {
        Feeder storage f = _known(s, feeder);
        Page memory page;
        (page.feeder, page.number, page.lot) = (feeder, f.number, lot);
        (page.stage, page.first, page.behind) = (stage, first, f.silent != 0);
        ClearingHead head = s.clearings[(page.number << 40) | lot].head;
        if (lot > type(uint40).max || head.lots() == 0) revert IMarketErrors.UnknownClearing(feeder, lot);
        bytes memory charter = _charter(s, page.number, head.charter());
        Pages.check(s, page, head, charter);
        Round memory round;
        round.times = _countRepeat(s, page, head, charter, office.lotSeconds);
        if (f.operators == address(0)) revert IMarketErrors.NoOperator(feeder);
        (round.feeder, round.lot, round.seats) = (feeder, lot, CodeStore.read(f.operators));
        round.left = round.seats.count();
        round.seat = round.times % round.left;
        if (round.times <= charter.terms().freeRepeats) {
            (, , uint256 payment) = round.seats.at(round.seat);
            if (f.link < payment) revert IMarketErrors.LinkTooLow(feeder, f.link, payment);
        } else {
            // beyond the free ones, who wants it pays it
            round.payer = msg.sender;
        }
        Request memory request;
        _fill(s, request, page, head, charter);
        if (!_send(s, f, pending, office.link, round, request)) {
            revert IMarketErrors.TooLittleGas(gasleft(), _gasFor(request));
        }
    }

    // ------------------------------------------------------------------------------------------ sending

    /// @dev In their order, to the first operator that takes requests. What the gas does not suffice for any more, after
    /// operators that refused have used it, is not requested yet.
    function _sendAll(
        MarketState storage s,
        Feeder storage f,
        Clearing storage c,
        mapping(bytes32 requestId => PendingRequest) storage pending,
        LinkTokenInterface link,
        Round memory round,
        Request[] memory requests
    ) private {
        for (uint256 i = 0; i < requests.length; ++i) round.setAside += _setAside(requests[i]);
        for (round.prepaid = requests.length; round.sent < requests.length; ++round.sent) {
            round.setAside -= _setAside(requests[round.sent]);
            if (_send(s, f, pending, link, round, requests[round.sent])) continue;
            if (round.sent == 0) revert IMarketErrors.TooLittleGas(gasleft(), _gasFor(requests[0]));
            _returnPrepaid(f, round);
            uint256 members = 0;
            for (uint256 i = round.sent; i < requests.length; ++i) members += requests[i].count;
            ClearingHead head = c.head; // an operator may have delivered meanwhile
            c.head = head.withRequested(head.requested() - members);
            return;
        }
    }

    /// @dev Sends one request to the operator whose turn it is, or to the next that takes it. One that nobody takes is
    /// announced as refused and costs no LINK; it can be repeated as any other.
    /// @return enough false: the gas does not suffice, and nothing more has happened
    function _send(
        MarketState storage s,
        Feeder storage f,
        mapping(bytes32 requestId => PendingRequest) storage pending,
        LinkTokenInterface link,
        Round memory round,
        Request memory request
    ) private returns (bool enough) {
        uint256 nonce = (round.times << 96) | request.purpose;
        bytes32 id = ReadingRequest.idOf(nonce);
        while (round.left != 0) {
            uint256 gasLimit = _operatorGas(round, request);
            if (gasLimit == 0) return false;
            (address operator, bytes32 specId, uint96 payment) = round.seats.at(round.seat);
            if (round.prepaid != 0 || _pay(s, f, link, round, id, payment)) {
                emit IEnergyMarket.StageRequested(
                    id,
                    round.feeder,
                    round.lot,
                    request.stage,
                    request.first,
                    request.count,
                    operator
                );
                ReadingRequest.Order memory order = ReadingRequest.Order(
                    link,
                    operator,
                    specId,
                    payment,
                    request.purpose,
                    nonce
                );
                if (ReadingRequest.dispatch(pending, order, request.query, gasLimit)) return true;
                _refused(round, request, id, operator);
                if (round.prepaid == 0) _giveBack(s, f, link, round, id, payment);
            }
            _returnPrepaid(f, round);
            round.seat = (round.seat + 1) % round.seats.count();
            --round.left;
        }
        _refused(round, request, id, address(0));
        return true;
    }

    /// @dev What the opening paid at once for all requests that are not sent goes back; each is paid for itself then.
    function _returnPrepaid(Feeder storage f, Round memory round) private {
        if (round.prepaid == 0) return;
        (, , uint256 payment) = round.seats.at(round.seat);
        f.link += uint96((round.prepaid - round.sent) * payment);
        round.prepaid = 0;
    }

    /// @return paid false: the feeder's LINK does not suffice
    function _pay(
        MarketState storage s,
        Feeder storage f,
        LinkTokenInterface link,
        Round memory round,
        bytes32 id,
        uint96 payment
    ) private returns (bool paid) {
        if (round.payer == address(0)) {
            uint96 balance = f.link;
            if (balance < payment) return false;
            f.link = balance - payment;
        } else if (payment != 0) {
            s.payers[id] = round.payer;
            if (!link.transferFrom(round.payer, address(this), payment)) return false;
        }
        return true;
    }

    function _giveBack(
        MarketState storage s,
        Feeder storage f,
        LinkTokenInterface link,
        Round memory round,
        bytes32 id,
        uint96 payment
    ) private {
        if (round.payer == address(0)) {
            f.link += payment;
        } else if (payment != 0) {
            delete s.payers[id];
            link.transfer(round.payer, payment);
        }
    }

    function _refused(Round memory round, Request memory request, bytes32 id, address operator) private {
        emit IEnergyMarket.RequestRefused(id, round.feeder, round.lot, request.stage, request.first, operator);
    }

    /// @dev What to leave to LINK and the operator; 0: the gas does not suffice.
    function _operatorGas(Round memory round, Request memory request) private view returns (uint256 least) {
        uint256 needed = _gasFor(request);
        uint256 left = gasleft();
        if (left < needed) return 0;
        least = _GAS_OPERATOR + _GAS_OPERATOR_MEMBER * request.count;
        // what is over, when the next operator may have to be asked, and all further requests be sent
        uint256 kept = 2 * needed + round.setAside;
        if (left > kept) least += left - kept;
        if (least > _GAS_OPERATOR_MOST) least = _GAS_OPERATOR_MOST;
    }

    function _gasFor(Request memory request) private pure returns (uint256) {
        // a call is given at most 63 parts of 64 of what is left
        uint256 operators = _GAS_OPERATOR + _GAS_OPERATOR_MEMBER * request.count;
        return operators + operators / 63 + _GAS_SENDING;
    }

    function _setAside(Request memory request) private pure returns (uint256) {
        return _GAS_REQUEST + _GAS_REQUEST_MEMBER * request.count;
    }

    // ------------------------------------------------------------------------------------------ views

    function nextOpening(
        MarketState storage s,
        uint256 lotSeconds,
        bytes32 feeder
    ) public view returns (uint64 lot, uint64 notBefore) {
        Feeder storage f = _known(s, feeder);
        if (f.charters == 0) revert IMarketErrors.NotChartered(feeder);
        uint256 opened = f.openedLot;
        (, bytes memory charter, uint256 last) = _nextCharter(s, f, opened);
        uint256 end = opened + charter.lotsPerClearing();
        if (end > last) end = last;
        return (uint64(end), uint64((end + 1) * lotSeconds + charter.openDelay()));
    }

    function lotsPerClearing(MarketState storage s, bytes32 feeder) external view returns (uint32) {
        Feeder storage f = _known(s, feeder);
        if (f.charters == 0) revert IMarketErrors.NotChartered(feeder);
        (, bytes memory charter, ) = _nextCharter(s, f, f.openedLot);
        return uint32(charter.lotsPerClearing());
    }

    /// @notice What an upkeep would do: go on with an opening, or open the next lots.
    function upkeep(
        MarketState storage s,
        uint256 lotSeconds,
        bytes32 feeder
    ) external view returns (bool needed, uint64 lot) {
        Feeder storage f = s.feeders[feeder];
        if (f.number == 0 || f.charters == 0 || f.paused) return (false, 0);
        lot = f.openedLot;
        ClearingHead head = s.clearings[(uint256(f.number) << 40) | lot].head;
        if (head.lots() != 0 && head.requested() < Pages.members(_charter(s, f.number, head.charter()))) {
            return (true, lot);
        }
        (, bytes memory charter, ) = _nextCharter(s, f, lot);
        (uint32 distributor, ) = charter.distributor();
        uint64 notBefore;
        (lot, notBefore) = nextOpening(s, lotSeconds, feeder);
        return (distributor != 0 && block.timestamp >= notBefore, lot);
    }

    // ------------------------------------------------------------------------------------------ inside

    function _known(MarketState storage s, bytes32 feeder) private view returns (Feeder storage f) {
        f = s.feeders[feeder];
        if (f.number == 0) revert IMarketErrors.UnknownFeeder(feeder);
    }

    function _charter(MarketState storage s, uint256 number, uint256 index) private view returns (bytes memory) {
        return CodeStore.read(s.charters[(number << 24) | index].code);
    }

    /// @dev The charter that the next opening is under, and the last lot that it holds for.
    function _nextCharter(
        MarketState storage s,
        Feeder storage f,
        uint256 opened
    ) private view returns (uint256 index, bytes memory charter, uint256 last) {
        uint256 base = uint256(f.number) << 24;
        uint256 count = f.charters;
        index = f.charter;
        if (index + 1 < count && s.charters[base | (index + 1)].fromLot == opened + 1) ++index;
        last = index + 1 < count ? s.charters[base | (index + 1)].fromLot - 1 : type(uint40).max;
        charter = CodeStore.read(s.charters[base | index].code);
    }

    /// @param end unix second at which the last lot ends
    function _checkOpening(
        bytes32 feeder,
        bytes memory charter,
        uint64 lot,
        uint256 lots,
        uint256 last,
        uint256 end
    ) private view {
        (uint32 distributor, ) = charter.distributor();
        if (distributor == 0) revert IMarketErrors.FeederEnded(feeder, uint64(lot - lots + 1));
        if (lot > last) revert IMarketErrors.LotBeyondCharter(lot, uint64(last));
        if (lots > FeederCharters.MAX_LOTS) {
            revert IMarketErrors.TooManyLots(uint64(lots), uint64(FeederCharters.MAX_LOTS));
        }
        uint256 plants = charter.plants();
        if (lots * plants > FeederCharters.MAX_PLANT_LOTS) {
            revert IMarketErrors.TooManyLots(uint64(lots), uint64(FeederCharters.MAX_PLANT_LOTS / plants));
        }
        if (lots < charter.lotsPerClearing() && lot != last) {
            revert IMarketErrors.TooFewLots(uint64(lots), uint64(charter.lotsPerClearing()));
        }
        uint256 notBefore = end + charter.openDelay();
        if (block.timestamp < notBefore) revert IMarketErrors.LotNotOver(lot, uint64(notBefore));
    }

    /// @dev Not before the request before it had its time. Returns how often this one was repeated, this time included.
    function _countRepeat(
        MarketState storage s,
        Page memory page,
        ClearingHead head,
        bytes memory charter,
        uint256 lotSeconds
    ) private returns (uint256 times) {
        uint256 key = Purpose.pack(page.number, page.lot, page.stage, page.first);
        Repeat storage r = s.repeats[key];
        uint256 at = r.at;
        if (at == 0) at = (page.lot + 1) * lotSeconds + head.openedAfter();
        uint256 notBefore = at + charter.terms().repeatSeconds;
        if (block.timestamp < notBefore) {
            revert IMarketErrors.RepeatTooEarly(page.feeder, uint64(page.lot), notBefore);
        }
        times = uint256(r.times) + 1;
        r.times = uint32(times);
        r.at = uint40(block.timestamp);
    }

    function _spendLink(bytes32 feeder, Feeder storage f, uint256 payment) private {
        uint96 balance = f.link;
        if (balance < payment) revert IMarketErrors.LinkTooLow(feeder, balance, payment);
        f.link = balance - uint96(payment);
    }
}
