// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IMeterRegistry} from "../interfaces/IMeterRegistry.sol";
import {LotReadingClient} from "../LotReadingClient.sol";

/// @title Pays for measured sunlight
/// @notice A sponsor locks ether for a meter's energy in a run of lots. Once they are over, anyone asks an oracle for the
/// reading; the meter's signature alone decides what is paid. The second user of LotReadingClient, beside the market.
contract SolarBounty is LotReadingClient {
    struct Bounty {
        address sponsor;
        address beneficiary;
        bytes32 meterId;
        uint64 lastLot;
        uint16 lots;
        uint64 weiPerKWh;
        uint96 locked; // wei; 0 when settled
    }

    uint256 private constant _UNITS_PER_KWH = 10 ** 7;
    /// @notice After so long without a reading the sponsor may take the ether back.
    uint256 public constant EXPIRY = 30 days;

    Bounty[] private _bounties;
    mapping(address who => uint256) public owedTo;

    event Offered(uint256 indexed bounty, bytes32 indexed meterId, address indexed sponsor, uint256 locked);
    event Settled(uint256 indexed bounty, uint256 energy, uint256 paid);
    event ReadingNotTaken(uint256 indexed bounty, bytes32 indexed requestId);
    event Withdrawn(address indexed who, uint256 amount);

    error BadRun(uint64 lastLot, uint16 lots);
    error NothingLocked();
    error ZeroBeneficiary();
    error UnknownBounty(uint256 bounty);
    error AlreadySettled(uint256 bounty);
    error LotNotOver(uint64 lot);
    error NotExpired(uint256 at);
    error NothingOwed(address who);
    error EtherNotTaken(address who);

    constructor(IMeterRegistry registry_, address link) LotReadingClient(registry_, link) {}

    /// @notice Locks `msg.value` for the energy that `meterId` measures in the `lots` lots that end with `lastLot`.
    function offer(
        bytes32 meterId,
        address beneficiary,
        uint64 lastLot,
        uint16 lots,
        uint64 weiPerKWh
    ) external payable returns (uint256 bounty) {
        if (lots == 0 || lots > lastLot) revert BadRun(lastLot, lots);
        if (msg.value == 0 || msg.value > type(uint96).max) revert NothingLocked();
        if (beneficiary == address(0)) revert ZeroBeneficiary();
        bounty = _bounties.length;
        _bounties.push(Bounty(msg.sender, beneficiary, meterId, lastLot, lots, weiPerKWh, uint96(msg.value)));
        emit Offered(bounty, meterId, msg.sender, msg.value);
    }

    /// @notice Asks any operator for the reading, with the caller's LINK (approve it before).
    function ask(
        uint256 bounty,
        address operator,
        bytes32 specId,
        uint256 payment
    ) external returns (bytes32 requestId) {
        Bounty storage b = _open(bounty);
        if (block.timestamp < (uint256(b.lastLot) + 1) * _lotSeconds) revert LotNotOver(b.lastLot);
        if (payment != 0) _link.transferFrom(msg.sender, address(this), payment);
        bytes32[] memory meters = new bytes32[](1);
        meters[0] = b.meterId;
        return
            _requestReadings(
                operator,
                specId,
                payment,
                uint96(bounty),
                bytes32(bounty),
                b.lastLot,
                b.lots,
                "plant",
                meters
            );
    }

    /// @notice The sponsor's ether back when no reading came.
    function reclaim(uint256 bounty) external {
        Bounty storage b = _open(bounty);
        uint256 at = (uint256(b.lastLot) + 1) * _lotSeconds + EXPIRY;
        if (block.timestamp < at) revert NotExpired(at);
        owedTo[b.sponsor] += b.locked;
        b.locked = 0;
        emit Settled(bounty, 0, 0);
    }

    function withdraw() external {
        uint256 amount = owedTo[msg.sender];
        if (amount == 0) revert NothingOwed(msg.sender);
        owedTo[msg.sender] = 0;
        emit Withdrawn(msg.sender, amount);
        (bool taken, ) = msg.sender.call{value: amount}("");
        if (!taken) revert EtherNotTaken(msg.sender);
    }

    function bountyOf(uint256 bounty) external view returns (Bounty memory) {
        if (bounty >= _bounties.length) revert UnknownBounty(bounty);
        return _bounties[bounty];
    }

    function _onRecords(bytes32 requestId, uint96 purpose, bytes calldata records) internal override {
        Bounty storage b = _bounties[purpose];
        bytes32[] memory meters = new bytes32[](1);
        meters[0] = b.meterId;
        VerifiedReading memory reading = _verify(meters, b.lastLot, records)[0];
        uint256 n = reading.energies.length;
        if (b.locked == 0 || !reading.valid || n < b.lots) {
            emit ReadingNotTaken(purpose, requestId);
            return;
        }
        uint256 energy = 0;
        for (uint256 i = n - b.lots; i < n; ++i) energy += reading.energies[i];
        uint256 paid = (energy * b.weiPerKWh) / _UNITS_PER_KWH;
        if (paid > b.locked) paid = b.locked;
        owedTo[b.beneficiary] += paid;
        owedTo[b.sponsor] += b.locked - paid;
        b.locked = 0;
        emit Settled(purpose, energy, paid);
    }

    function _open(uint256 bounty) private view returns (Bounty storage b) {
        if (bounty >= _bounties.length) revert UnknownBounty(bounty);
        b = _bounties[bounty];
        if (b.locked == 0) revert AlreadySettled(bounty);
    }
}
