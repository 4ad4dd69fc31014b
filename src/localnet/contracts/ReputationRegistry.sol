// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

interface IIdentityRegistry {
    function isAuthorizedOrOwner(address spender, uint256 agentId) external view returns (bool);
}

/// @title Minimal ERC-8004 reputation registry for the local network.
/// @notice Written from the ERC text. Endpoint, URI and hash of a feedback live in its event only, as in the standard.
/// @dev The runtime code is placed with setCode at the canonical testnet address: storage starts empty and the
/// identity address travels inside the code, as an immutable.
contract ReputationRegistry {
    struct Feedback {
        int128 value;
        uint8 valueDecimals;
        bool isRevoked;
        string tag1;
        string tag2;
    }

    /// Arguments of readAllFeedback: one memory pointer instead of a stack slot each ("stack too deep").
    struct Query {
        uint256 agentId;
        address[] clients;
        bytes32 tag1Hash;
        bytes32 tag2Hash;
        bool includeRevoked;
    }

    /// Results of readAllFeedback, for the same reason.
    struct Rows {
        address[] clients;
        uint64[] feedbackIndexes;
        int128[] values;
        uint8[] valueDecimals;
        string[] tag1s;
        string[] tag2s;
        bool[] revokedStatuses;
    }

    event NewFeedback(
        uint256 indexed agentId,
        address indexed clientAddress,
        uint64 feedbackIndex,
        int128 value,
        uint8 valueDecimals,
        string indexed indexedTag1,
        string tag1,
        string tag2,
        string endpoint,
        string feedbackURI,
        bytes32 feedbackHash
    );
    event FeedbackRevoked(
        uint256 indexed agentId, address indexed clientAddress, uint64 indexed feedbackIndex
    );
    event ResponseAppended(
        uint256 indexed agentId,
        address indexed clientAddress,
        uint64 feedbackIndex,
        address indexed responder,
        string responseURI,
        bytes32 responseHash
    );

    /// Raised by the identity registry and passed through; declared here so that this ABI can decode it.
    error ERC721NonexistentToken(uint256 tokenId);

    uint8 private constant MAX_DECIMALS = 18;
    int128 private constant MAX_ABS_VALUE = 1e38;
    /// An empty tag in a query matches everything.
    bytes32 private constant ANY_TAG = keccak256("");

    address private immutable _identityRegistry = 0x8004A818BFB912233c491871b3d84c89A494BD9e;

    mapping(uint256 agentId => address[]) private _clients;
    /// Number of feedbacks of a client about an agent; indexes run from 1 to this value.
    mapping(uint256 agentId => mapping(address client => uint64)) private _lastIndex;
    mapping(uint256 agentId => mapping(address client => mapping(uint64 index => Feedback))) private _feedback;
    mapping(uint256 agentId => mapping(address client => mapping(uint64 index => address[]))) private _responders;
    mapping(
        uint256 agentId => mapping(address client => mapping(uint64 index => mapping(address responder => uint64)))
    ) private _responseCounts;

    function getVersion() external pure returns (string memory) {
        return "2.0.0";
    }

    function getIdentityRegistry() external view returns (address) {
        return _identityRegistry;
    }

    // Writing

    /// @dev Strings in memory, not calldata: calldata strings take two stack slots each and do not fit without viaIR.
    function giveFeedback(
        uint256 agentId,
        int128 value,
        uint8 valueDecimals,
        string memory tag1,
        string memory tag2,
        string memory endpoint,
        string memory feedbackURI,
        bytes32 feedbackHash
    ) external {
        require(valueDecimals <= MAX_DECIMALS, "too many decimals");
        require(value >= -MAX_ABS_VALUE && value <= MAX_ABS_VALUE, "value too large");
        // Reverts with ERC721NonexistentToken for an unknown agent.
        require(
            !IIdentityRegistry(_identityRegistry).isAuthorizedOrOwner(msg.sender, agentId), "Self-feedback not allowed"
        );
        uint64 index = _store(agentId, Feedback(value, valueDecimals, false, tag1, tag2));
        emit NewFeedback(
            agentId, msg.sender, index, value, valueDecimals, tag1, tag1, tag2, endpoint, feedbackURI, feedbackHash
        );
    }

    function _store(uint256 agentId, Feedback memory feedback) private returns (uint64 index) {
        index = ++_lastIndex[agentId][msg.sender];
        if (index == 1) _clients[agentId].push(msg.sender);
        _feedback[agentId][msg.sender][index] = feedback;
    }

    function revokeFeedback(uint256 agentId, uint64 feedbackIndex) external {
        require(feedbackIndex > 0, "index must be > 0");
        _requireStored(agentId, msg.sender, feedbackIndex);
        Feedback storage feedback = _feedback[agentId][msg.sender][feedbackIndex];
        require(!feedback.isRevoked, "Already revoked");
        feedback.isRevoked = true;
        emit FeedbackRevoked(agentId, msg.sender, feedbackIndex);
    }

    function appendResponse(
        uint256 agentId,
        address clientAddress,
        uint64 feedbackIndex,
        string memory responseURI,
        bytes32 responseHash
    ) external {
        require(feedbackIndex > 0, "index must be > 0");
        require(bytes(responseURI).length > 0, "Empty URI");
        _requireStored(agentId, clientAddress, feedbackIndex);
        if (_responseCounts[agentId][clientAddress][feedbackIndex][msg.sender]++ == 0) {
            _responders[agentId][clientAddress][feedbackIndex].push(msg.sender);
        }
        emit ResponseAppended(agentId, clientAddress, feedbackIndex, msg.sender, responseURI, responseHash);
    }

    function _requireStored(uint256 agentId, address client, uint64 index) private view {
        require(index <= _lastIndex[agentId][client], "index out of bounds");
    }

    // Reading

    function getClients(uint256 agentId) external view returns (address[] memory) {
        return _clients[agentId];
    }

    function getLastIndex(uint256 agentId, address clientAddress) external view returns (uint64) {
        return _lastIndex[agentId][clientAddress];
    }

    function readFeedback(uint256 agentId, address clientAddress, uint64 feedbackIndex)
        external
        view
        returns (int128 value, uint8 valueDecimals, string memory tag1, string memory tag2, bool isRevoked)
    {
        require(feedbackIndex > 0, "index must be > 0");
        _requireStored(agentId, clientAddress, feedbackIndex);
        Feedback memory feedback = _feedback[agentId][clientAddress][feedbackIndex];
        return (feedback.value, feedback.valueDecimals, feedback.tag1, feedback.tag2, feedback.isRevoked);
    }

    /// @notice Empty client list: all clients. Empty tag: any tag. Ordered by client, then by index.
    function readAllFeedback(
        uint256 agentId,
        address[] memory clientAddresses,
        string memory tag1,
        string memory tag2,
        bool includeRevoked
    )
        external
        view
        returns (
            address[] memory clients,
            uint64[] memory feedbackIndexes,
            int128[] memory values,
            uint8[] memory valueDecimals,
            string[] memory tag1s,
            string[] memory tag2s,
            bool[] memory revokedStatuses
        )
    {
        Rows memory rows = _readRows(_buildQuery(agentId, clientAddresses, tag1, tag2, includeRevoked));
        clients = rows.clients;
        feedbackIndexes = rows.feedbackIndexes;
        values = rows.values;
        valueDecimals = rows.valueDecimals;
        tag1s = rows.tag1s;
        tag2s = rows.tag2s;
        revokedStatuses = rows.revokedStatuses;
    }

    function _buildQuery(
        uint256 agentId,
        address[] memory clients,
        string memory tag1,
        string memory tag2,
        bool includeRevoked
    ) private view returns (Query memory query) {
        query.agentId = agentId;
        query.clients = clients.length > 0 ? clients : _clients[agentId];
        query.tag1Hash = keccak256(bytes(tag1));
        query.tag2Hash = keccak256(bytes(tag2));
        query.includeRevoked = includeRevoked;
    }

    function _readRows(Query memory query) private view returns (Rows memory rows) {
        rows = _allocateRows(_countMatches(query));
        uint256 row = 0;
        for (uint256 i = 0; i < query.clients.length; i++) {
            uint64 last = _lastIndex[query.agentId][query.clients[i]];
            for (uint64 index = 1; index <= last; index++) {
                Feedback storage feedback = _feedback[query.agentId][query.clients[i]][index];
                if (!_matches(feedback, query)) continue;
                rows.clients[row] = query.clients[i];
                rows.feedbackIndexes[row] = index;
                _copyRow(rows, row, feedback);
                row++;
            }
        }
    }

    function _allocateRows(uint256 count) private pure returns (Rows memory rows) {
        rows.clients = new address[](count);
        rows.feedbackIndexes = new uint64[](count);
        rows.values = new int128[](count);
        rows.valueDecimals = new uint8[](count);
        rows.tag1s = new string[](count);
        rows.tag2s = new string[](count);
        rows.revokedStatuses = new bool[](count);
    }

    function _copyRow(Rows memory rows, uint256 row, Feedback storage feedback) private view {
        rows.values[row] = feedback.value;
        rows.valueDecimals[row] = feedback.valueDecimals;
        rows.tag1s[row] = feedback.tag1;
        rows.tag2s[row] = feedback.tag2;
        rows.revokedStatuses[row] = feedback.isRevoked;
    }

    function _countMatches(Query memory query) private view returns (uint256 count) {
        for (uint256 i = 0; i < query.clients.length; i++) {
            uint64 last = _lastIndex[query.agentId][query.clients[i]];
            for (uint64 index = 1; index <= last; index++) {
                if (_matches(_feedback[query.agentId][query.clients[i]][index], query)) count++;
            }
        }
    }

    function _matches(Feedback storage feedback, Query memory query) private view returns (bool) {
        if (feedback.isRevoked && !query.includeRevoked) return false;
        if (query.tag1Hash != ANY_TAG && keccak256(bytes(feedback.tag1)) != query.tag1Hash) return false;
        return query.tag2Hash == ANY_TAG || keccak256(bytes(feedback.tag2)) == query.tag2Hash;
    }

    /// @notice Mean of the matching, unrevoked rows with as many decimals as most of them have (on a tie the fewest),
    /// cut towards zero. A client that is listed twice counts twice.
    function getSummary(uint256 agentId, address[] memory clientAddresses, string memory tag1, string memory tag2)
        external
        view
        returns (uint64 count, int128 summaryValue, uint8 summaryValueDecimals)
    {
        require(clientAddresses.length > 0, "clientAddresses required");
        Rows memory rows = _readRows(_buildQuery(agentId, clientAddresses, tag1, tag2, false));
        count = uint64(rows.values.length);
        if (count == 0) return (0, 0, 0);
        // 1e38 scaled by 1e18 leaves room in 255 bits for more rows than a block can hold.
        int256 sum = 0;
        uint64[MAX_DECIMALS + 1] memory frequency;
        for (uint256 i = 0; i < count; i++) {
            sum += int256(rows.values[i]) * int256(10 ** (MAX_DECIMALS - rows.valueDecimals[i]));
            frequency[rows.valueDecimals[i]]++;
        }
        for (uint8 decimals = 1; decimals <= MAX_DECIMALS; decimals++) {
            if (frequency[decimals] > frequency[summaryValueDecimals]) summaryValueDecimals = decimals;
        }
        int256 mean = sum / int256(uint256(count)) / int256(10 ** (MAX_DECIMALS - summaryValueDecimals));
        // Only absurd mixtures (1e38 with 0 decimals among rows with 18) get here; a wrapped mean would be worse.
        require(mean >= type(int128).min && mean <= type(int128).max, "summary out of range");
        summaryValue = int128(mean);
    }

    /// @notice Client zero: all clients and all their rows. Index zero: all rows of the client. No responders: everybody.
    function getResponseCount(
        uint256 agentId,
        address clientAddress,
        uint64 feedbackIndex,
        address[] memory responders
    ) external view returns (uint64 count) {
        if (clientAddress != address(0)) {
            if (feedbackIndex == 0) return _countClientResponses(agentId, clientAddress, responders);
            return _countRowResponses(agentId, clientAddress, feedbackIndex, responders);
        }
        address[] memory clients = _clients[agentId];
        for (uint256 i = 0; i < clients.length; i++) {
            count += _countClientResponses(agentId, clients[i], responders);
        }
    }

    function _countClientResponses(uint256 agentId, address client, address[] memory responders)
        private
        view
        returns (uint64 count)
    {
        uint64 last = _lastIndex[agentId][client];
        for (uint64 index = 1; index <= last; index++) {
            count += _countRowResponses(agentId, client, index, responders);
        }
    }

    function _countRowResponses(uint256 agentId, address client, uint64 index, address[] memory responders)
        private
        view
        returns (uint64 count)
    {
        address[] memory counted = responders.length > 0 ? responders : _responders[agentId][client][index];
        for (uint256 i = 0; i < counted.length; i++) {
            count += _responseCounts[agentId][client][index][counted[i]];
        }
    }
}
