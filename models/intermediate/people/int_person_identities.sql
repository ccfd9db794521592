{# Rebuilt whole in each run, in time that grows with the number of people. What the App API calls cio_id the sync calls
   internal_customer_id. Of the id in a call nobody says whether it is the person's id, cio_id or address. So it is none of
   its own where it is known as one of the others. #}
{{ config(meta={'records_batches': true}) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

event_people as (

    select * from {{ ref('int_person_sums') }}

),

api_people as (

    select * from {{ ref('stg_customerio_api__customers') }}

),

identify_requests as (

    select * from {{ ref('int_person_requests') }}
    where
        action = 'create_or_update_person'
        and held_back_reason is null

),

{{ latest_sync_rows('customerio_people', ['internal_customer_id'], name='sync_people', known=true) }},

calls as (

    select
        user_id,
        {{ plain_email('user_id') }} as email,
        max(last_called_at) as last_seen_at
    from {{ ref('fct_deliveries') }}
    where user_id is not null
    group by user_id

),

-- what an identify call says of one person
named_people as (

    select
        case when person_id_type = 'id' then person_id end as customer_id,
        case when person_id_type = 'cio_id' then substr(person_id, 5) end as cio_id,
        {{ plain_email('coalesce(' ~ json_name(json_value('payload', 'attributes'), 'email')
            ~ ", case when person_id_type = 'email' then person_id end)") }} as email,
        happened_at
    from identify_requests

),

identities as (

    select
        'events' as feed,
        customer_id,
        cio_id,
        email,
        last_event_at as last_seen_at
    from event_people

    union all

    select
        'sync' as feed,
        nullif(customer_id, '') as customer_id,
        internal_customer_id as cio_id,
        {{ plain_email('email_addr') }} as email,
        -- the update that deletes a person says nothing of who has the address since
        case when deleted then created_at else coalesce(updated_at, created_at) end as last_seen_at
    from sync_people

    union all

    select
        'app_api' as feed,
        user_id as customer_id,
        cio_id,
        {{ plain_email('email') }} as email,
        extracted_at as last_seen_at
    from api_people

    union all

    select
        'source_calls' as feed,
        customer_id,
        cio_id,
        email,
        max(happened_at) as last_seen_at
    from named_people
    group by customer_id, cio_id, email

),

customer_ids as (

    select distinct customer_id
    from identities

),

-- what else the id of a call may be
other_identifiers as (

    select cio_id as identifier
    from identities

    union

    select email as identifier
    from identities

),

callers as (

    select
        calls.user_id,
        calls.last_seen_at
    from calls
    left join customer_ids
        on calls.user_id = customer_ids.customer_id
    left join other_identifiers as cio_ids
        on calls.user_id = cio_ids.identifier
    left join other_identifiers as emails
        on calls.email = emails.identifier
    where
        customer_ids.customer_id is not null
        or (cio_ids.identifier is null and emails.identifier is null)

),

all_identities as (

    select
        feed,
        customer_id,
        cio_id,
        email,
        last_seen_at
    from identities

    union all

    select
        'calls' as feed,
        user_id as customer_id,
        null as cio_id,
        null as email,
        last_seen_at
    from callers

),

final as (

    select
        feed,
        {{ identifier_of('customer_id', 'customer_id') }} as customer_identifier,
        {{ identifier_of('cio_id', 'cio_id') }} as cio_identifier,
        {{ identifier_of('email', 'email') }} as email_identifier,
        max(last_seen_at) as last_seen_at
    from all_identities
    where coalesce(customer_id, cio_id, email) is not null
    group by feed, customer_id, cio_id, email

)

select * from final
