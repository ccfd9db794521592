{# People by identifier and day, from the lines of touched messages: what the tables hold of a message may be newer than
   what a build that broke off has read. Of these lines only those of touched dates: int_person_days deletes who is touched
   on a day, and builds again what happened on touched dates, but not every line of a message is an event that counts on
   its day. The key of a removed line names its person, where that had an id; any other touches everybody
   (int_touched_everybody). #}
{% set rewritten_or_removed_ids = all_of([
    'select delivery_id from ' ~ ref('int_rewritten_messages'),
    of_pending('delivery_id', source('customerio_sync', 'customerio_deliveries_removed'), 'batch_id'),
]) %}

with

{{ pending() }},

rewritten_messages as (

    select * from {{ ref('int_rewritten_messages') }}

),

touched_sync_events as (

    select * from {{ ref('int_touched_sync_events') }}

),

touched_dates as (

    select * from {{ ref('int_touched_dates') }}

),

removed_events as (

    select * from {{ source('customerio', 'customerio_events_removed') }}

),

removed_deliveries as (

    select * from {{ source('customerio_sync', 'customerio_deliveries_removed') }}

),

-- read twice, because only lines without an id need their payload
lines_with_id as (

    select distinct
        user_id,
        {{ reporting_date(unix_to_timestamp('lines.timestamp')) }} as metric_date
    from {{ source('customerio', 'customerio_events') }} as lines
    where
        delivery_id in (select delivery_id from rewritten_messages)
        {{- and_between('delivery_id', 'int_rewritten_messages', 'delivery_id') }}
        and user_id is not null

),

lines_without_id as (

    select * from {{ source('customerio', 'customerio_events') }}
    where
        delivery_id in (select delivery_id from rewritten_messages)
        {{- and_between('delivery_id', 'int_rewritten_messages', 'delivery_id') }}
        and user_id is null

),

{{ events_of_lines('lines_without_id', 'events') }},

people_without_id as (

    select
        user_id,
        {{ reporting_date('event_at') }} as metric_date,
        cio_id,
        {{ email_of_event('channel', 'email', 'email_address', 'recipient') }} as email_of_person
    from events

),

-- the pseudonym of somebody forgotten does not say who was counted
named_removals as (

    select distinct
        user_id,
        {{ reporting_date(unix_to_timestamp('removed_events.timestamp')) }} as metric_date
    from removed_events
    where
        batch_id in (select batch_id from pending)
        and user_id not like 'forgotten:%'

),

-- whose the deliveries of the sync are, and were
sync_people as (

    select
        delivery_id,
        internal_customer_id
    from {{ source('customerio_sync', 'customerio_deliveries') }}
    where
        delivery_id in (select delivery_id from rewritten_messages)
        {{- and_between('delivery_id', 'int_rewritten_messages', 'delivery_id') }}

    union

    select
        delivery_id,
        internal_customer_id
    from removed_deliveries
    where batch_id in (select batch_id from pending)

),

sync_dates as (

    select
        delivery_id,
        {{ reporting_date('created_at') }} as metric_date
    from {{ source('customerio_sync', 'customerio_metrics') }}
    where
        delivery_id in (select delivery_id from sync_people)
        {{- and_between('delivery_id', rewritten_or_removed_ids, 'delivery_id') }}

    union

    select
        delivery_id,
        {{ reporting_date('event_at') }} as metric_date
    from touched_sync_events

),

identifiers as (

    select
        {{ identifier_of('customer_id', 'user_id') }} as identifier,
        metric_date
    from lines_with_id

    union

    select
        {{ identifier_of('customer_id', 'user_id') }} as identifier,
        metric_date
    from named_removals

    union

    select
        {{ strongest_identifier('user_id', 'cio_id', 'email_of_person') }} as identifier,
        metric_date
    from people_without_id

    union

    select
        {{ identifier_of('cio_id', 'sync_people.internal_customer_id') }} as identifier,
        sync_dates.metric_date
    from sync_people
    inner join sync_dates
        on sync_people.delivery_id = sync_dates.delivery_id

),

final as (

    select
        identifier,
        metric_date
    from identifiers
    where
        identifier is not null
        and metric_date in (select metric_date from touched_dates)

)

select * from final
